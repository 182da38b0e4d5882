//! telamon-proxy

pub mod log;
