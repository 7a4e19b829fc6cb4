//! How fast and how wide: rates, fair shares and connection counts, for all tasks of a process together.
//!
//! * [`RateLimits`] bounds bytes per second over everything, per host and per task, and shares what is scarce between
//!   tasks by weight.
//! * [`ConnectionPermits`] bounds connections over everything and per host, and hands a freed one to the task that holds
//!   the fewest.
//! * [`AdaptiveConnections`] is the pure controller that finds how many connections one task should want.
//!
//! None of them reads a clock of its own beyond tokio's, so a test with paused time is exact.

mod adaptive;
mod bucket;
mod permits;
mod rate;
mod schedule;

pub use adaptive::{AdaptiveConnections, Sample};
pub use permits::{ConnectionPermit, ConnectionPermits, PermitHolder};
pub use rate::{RateLimits, TaskLimiter};
