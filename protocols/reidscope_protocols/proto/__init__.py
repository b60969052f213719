"""Generated from reidscope.proto by grpcio-tools; a test regenerates and compares them."""
