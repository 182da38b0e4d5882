//! The load balancer: layer 4 and layer 7, its rules and expressions.
//!
//! [`load`] makes a [`model`] from a configuration; [`plane::Plane`] runs it. On a worker, [`listen`] accepts,
//! [`http`] and [`tcp`] serve a client connection, [`persistence`] and [`sticking`] may name the server, else the [`key`]
//! has a part in the choice, [`dial`] and [`upstream`] reach it, [`relay`] and [`tunnel`] move the bytes; [`tracking`]
//! counts what the keys of stick tables do. [`expr`] evaluates expressions over a [`stream`], [`rules`] act on it,
//! [`log`] tells of it.
//! [`check`] watches the servers from the control thread, [`learn`] their traffic; [`state_change`] does what follows, [`stats`] shows what
//! was counted; both reach the rest through a [`view`].

mod account;
pub mod api;
mod aside;
pub mod capture;
pub mod check;
pub mod connection_error;
mod dial;
pub mod expr;
#[cfg(test)]
mod fixture;
mod http;
mod key;
pub mod learn;
pub mod lent;
mod listen;
mod live;
pub mod load;
pub mod log;
pub mod model;
mod page;
pub mod persistence;
pub mod plane;
mod proxy_protocol;
mod relay;
pub mod resolve;
pub mod rules;
mod side;
pub mod snapshot;
pub mod state;
pub mod state_change;
pub mod stats;
mod sticking;
pub mod stream;
mod tcp;
mod tls;
mod tracking;
mod tunnel;
pub mod upstream;
mod usage;
pub mod view;
pub mod worker;
