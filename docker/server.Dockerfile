# What the coordinating centre runs. It holds no DICOM reader, no image code and no PyTorch.
# Context: a folder made by docker/context.sh (wheels of pinned versions; nothing is fetched here).
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
COPY wheels /wheels
COPY constraints.txt /
RUN python3 -m venv /opt/reidscope \
 && pip="/opt/reidscope/bin/python -m pip --no-cache-dir --disable-pip-version-check" \
 && $pip install --quiet --no-index --find-links /wheels -c /constraints.txt "reidscope[server]" \
# The coordinator can hold no image: what reads one is not even there.
 && $pip uninstall --quiet --yes pydicom uv pip \
 && rm /opt/reidscope/bin/reidscope-deid /opt/reidscope/bin/reidscope-site \
 && cd /opt/reidscope/lib/python3*/site-packages \
 && rm -rf reidscope_deid reidscope_site ../../../share/man \
 && find . -type d \( -name tests -o -name test \) -prune -exec rm -rf {} + \
 && ../../../bin/python -c 'import reidscope_server.up, reidscope_server.publish, reidscope_server.cli'

FROM ${BASE}
COPY --from=build /opt/reidscope /opt/reidscope
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /var/lib/reidscope \
      --shell /usr/sbin/nologin reidscope \
 && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/reidscope
ENV PATH=/opt/reidscope/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp \
    REIDSCOPE_SERVER_HOME=/var/lib/reidscope \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1 \
    FLWR_TELEMETRY_ENABLED=0 \
    FLWR_DISABLE_UPDATE_CHECK=1
USER 10001:10001
WORKDIR /tmp
# Enrolment (open while a token is outstanding), control, fleet: what `init` names by default.
EXPOSE 8441 8442 8443
ENTRYPOINT ["reidscope-server"]
CMD ["up"]
