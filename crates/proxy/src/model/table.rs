use std::sync::Arc;

use telamon_balance::stick::{Table, TableConfig};
use telamon_config::Location;

use crate::expr::{Condition, Expr};

/// Index of a stick table in [`Model::tables`](super::Model::tables).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId(pub u32);

/// What a `stick-table` line says; the table has the name of its section.
#[derive(Debug, Clone)]
pub struct TableSpec {
    pub name: Arc<str>,
    pub at: Location,
    /// `None` where the line is wrong.
    pub config: Option<TableConfig>,
    /// `srvkey`.
    pub server_key: ServerKey,
}

/// What entries remember of a server beside its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerKey {
    #[default]
    Name,
    /// Address and port, for servers that have other names in other places.
    Address,
}

/// A stick table; its entries survive reloads under the same name while keys and data are the same.
#[derive(Debug)]
pub struct StickTable {
    pub name: Arc<str>,
    pub at: Location,
    pub config: TableConfig,
    pub server_key: ServerKey,
    pub entries: Arc<Table>,
}

/// `stick on`, `match`, `store-request`, `store-response`.
#[derive(Debug)]
pub struct StickRule {
    pub condition: Option<Condition>,
    pub key: Expr,
    pub table: TableId,
    /// A key that is known binds the stream to its server.
    pub matches: bool,
    /// The server that is reached is remembered for the key.
    pub stores: bool,
}
