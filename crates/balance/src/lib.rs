//! Assigns units of work to the members of a pool by a strategy.
//!
//! This is the idea that every plane shares, said once. A *unit* is whatever a plane hands out
//! (a connection, a request, a query), a *member* is what can take it (a server, an upstream),
//! and a *pool* is the members of one service with the [`Strategy`] that chooses among them and
//! the queue of units that wait for a free slot.
//!
//! ```
//! use telamon_balance::{Assignment, Member, MemberConfig, Pool, PoolOptions, Rng, Unit};
//! use telamon_balance::strategy::RoundRobin;
//!
//! let members = ["a", "b"].map(|name| Member::new(name, &MemberConfig::default(), 1));
//! let pool: Pool<()> =
//!     Pool::new(members.into(), || Box::new(RoundRobin::default()), PoolOptions::default());
//! let mut rng = Rng::new(1);
//! let Assignment::Member(id) = pool.assign(&Unit::default(), &mut rng, 0) else { panic!() };
//! assert_eq!(pool.member(id).name(), "a");
//! assert!(pool.release(id).is_none()); // nobody waits for the slot
//! ```
//!
//! Start with [`pool`] for the life of a unit, [`member`] for what survives a reload,
//! [`strategy`] for the choices, [`hash`] for keys, [`health`] for the state machine of checks,
//! [`agent`] for what members report of themselves, [`outlier`] for what traffic tells, [`budget`]
//! for what bounds retries, [`counters`] and [`rate`] for what is counted, [`stats`] for how it is
//! shown.
//!
//! Nothing here does I/O, reads a clock or draws from the system's randomness: time is a number
//! of milliseconds that the caller gives, randomness an [`Rng`] that the caller owns.

pub mod agent;
pub mod budget;
pub mod counters;
pub mod hash;
pub mod health;
pub mod member;
pub mod outlier;
pub mod pool;
pub mod rate;
mod rng;
pub mod simulate;
pub mod stats;
pub mod stick;
pub mod strategy;

pub use crate::agent::Usage;
pub use crate::budget::{Retry, RetryBudget, RetryMeter};
pub use crate::counters::{Counter, Counters, PerWorker};
pub use crate::member::{
    Admin, AgentState, Limits, Load, Member, MemberConfig, MemberId, Run, SlowStart, Standing,
    Status, UsageError,
};
pub use crate::pool::{
    Assignment, Grant, InUse, Pinned, Place, Pool, PoolOptions, Refusal, Settled, Ticket, Unit,
    Waiting,
};
pub use crate::rate::{RateCounter, SlidingAverage};
pub use crate::rng::Rng;
pub use crate::strategy::{Candidates, Ending, Group, Key, Outcome, Strategy};
