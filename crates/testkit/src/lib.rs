//! telamon-testkit
