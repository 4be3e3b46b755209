//! TLS on both sides: certificates, verification, resumption.
