"""Networks that describe an aligned face, one module a format; `recognise.load` puts them to work.

Every file's sha256 has been checked when it comes here. What a file can still do: an ONNX graph is
data, interpreted by ONNX Runtime; a TorchScript archive is code in PyTorch's own small language; a
dlib file is weights, read by dlib.
"""
