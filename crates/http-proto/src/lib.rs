//! telamon-http-proto
