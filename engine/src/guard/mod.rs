//! The egress guard: nothing leaves this machine for an address that is not public.
//!
//! One decision, made in one order, for the engine in-process and for every child behind [`proxy`]:
//! parse the URL once with a WHATWG parser ([`url`]), resolve once, classify *all* answers ([`address`]), refuse if any
//! is denied, connect to exactly that address, ask the kernel who the peer is ([`EgressPolicy::check_peer`]).
//! Checking a name and letting somebody else resolve it again is what DNS rebinding lives on, so no step hands a name on.
//!
//! An operator opens named places with allow entries (`VASSET_EGRESS_ALLOW`); see [`EgressPolicy::new`].

pub mod address;
mod allow;
mod error;
mod interfaces;
mod policy;
mod ports;
pub mod proxy;
pub mod url;

pub use address::{Denial, Verdict, classify};
pub use error::{GuardError, UrlProblem};
pub use policy::EgressPolicy;
pub use url::{GuardedUrl, Host};
