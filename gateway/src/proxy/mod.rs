//! The path of a request: listener, connection, request, router, access log.
