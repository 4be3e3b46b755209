//! Sending one request to one endpoint: per-worker pools, connecting, HTTP/1.
