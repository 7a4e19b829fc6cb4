//! One task and the handles on it: orders in, numbers and the ending out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::HeaderMap;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::Shared;
use crate::download::Outcome;
use crate::error::{Error, Result};
use crate::limit::{PermitHolder, TaskLimiter};
use crate::net::cookies::Cookie;
use crate::progress::{Progress, Snapshot, State};
use crate::request::{Request, Source};

/// What a task is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Run,
    Pause,
    Cancel,
}

/// One task, as its handles and the engine share it.
pub(super) struct Task {
    pub(super) id: u64,
    pub(super) progress: Arc<Progress>,
    pub(super) order: watch::Sender<Order>,
    pub(super) limiter: TaskLimiter,
    pub(super) holder: PermitHolder,
    pub(super) request: Mutex<Request>,
    pub(super) outcome: Mutex<Option<Result<Outcome>>>,
    pub(super) ended: Condvar,
}

/// A task; cheap to clone. Dropping it does not stop the task.
#[derive(Clone)]
pub struct Handle {
    pub(super) task: Arc<Task>,
    pub(super) shared: Arc<Shared>,
}

impl Task {
    pub(super) fn command(&self, order: Order) {
        self.order.send_if_modified(|current| {
            let changes = *current != order && *current != Order::Cancel;
            if changes {
                *current = order;
                self.progress.set_order(order != Order::Run);
            }
            changes
        });
    }

    pub(super) fn wait(&self, timeout: Option<Duration>) -> Option<Result<Outcome>> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let mut outcome = self.outcome.lock();
        while outcome.is_none() {
            match deadline {
                None => self.ended.wait(&mut outcome),
                Some(deadline) if self.ended.wait_until(&mut outcome, deadline).timed_out() => break,
                Some(_) => {}
            }
        }
        outcome.clone()
    }
}

impl Handle {
    /// Number within the engine, as [`Engine::drain_completions`] reports it.
    pub fn id(&self) -> u64 {
        self.task.id
    }

    /// Stops the task; its journal stays. Harmless when it has ended.
    pub fn cancel(&self) {
        self.task.command(Order::Cancel);
    }

    /// Closes the task's connections until [`Handle::resume`].
    pub fn pause(&self) {
        self.task.command(Order::Pause);
    }

    /// Goes on after a pause.
    pub fn resume(&self) {
        self.task.command(Order::Run);
    }

    /// Changes what is given; a rate of 0 removes the task's own limit.
    pub fn set_limits(&self, rate: Option<u64>, weight: Option<u32>) -> Result<()> {
        self.shared.check_process()?;
        if let Some(rate) = rate {
            self.task.limiter.set_rate(Some(rate).filter(|rate| *rate > 0));
        }
        if let Some(weight) = weight {
            self.task.limiter.set_weight(weight);
            self.task.holder.set_weight(weight);
        }
        Ok(())
    }

    /// Runs an ended task again under a new URL; what is on disk counts when the origin confirms its version.
    /// `cookies`, as [`Request::cookies`] and [`Request::jar`], replace those of the task.
    pub fn refresh(
        &self,
        url: String,
        headers: Option<HeaderMap>,
        cookies: Option<(Option<String>, Vec<Cookie>)>,
    ) -> Result<()> {
        self.shared.check_process()?;
        self.shared.client.check_url(&url)?;
        let mut outcome = self.task.outcome.lock();
        if !matches!(*outcome, Some(Err(_))) {
            return Err(Error::InvalidRequest("only a task that ended with an error can be refreshed".to_owned()));
        }
        {
            let mut request = self.task.request.lock();
            match &mut request.source {
                Source::Single { url: old } | Source::Hls { url: old } | Source::Dash { url: old } => *old = url,
                Source::Fragments(_) => return Err(Error::Unsupported("refreshing a fragment list".to_owned())),
            }
            if let Some(headers) = headers {
                request.headers = headers;
            }
            if let Some(cookies) = cookies {
                (request.cookies, request.jar) = cookies;
            }
        }
        *outcome = None;
        self.task.order.send_replace(Order::Run);
        self.task.progress.set_state(State::Queued);
        self.shared.tasks.lock().insert(self.task.id, self.task.clone());
        self.shared.start(&self.task);
        Ok(())
    }

    /// Blocks until the task ends; `None` when `timeout` passed first.
    pub fn wait(&self, timeout: Option<Duration>) -> Option<Result<Outcome>> {
        self.task.wait(timeout)
    }

    /// How the task ended, if it has.
    pub fn outcome(&self) -> Option<Result<Outcome>> {
        self.task.outcome.lock().clone()
    }

    /// Whether this process made the engine.
    pub fn check_process(&self) -> Result<()> {
        self.shared.check_process()
    }

    /// What the task waits for while no byte comes.
    pub fn waiting_for(&self) -> Option<String> {
        self.task.progress.waiting_for()
    }

    /// The task's numbers, also after its end.
    pub fn snapshot(&self) -> Snapshot {
        self.task.progress.snapshot(self.task.id)
    }
}
