//! telamon-proxy
