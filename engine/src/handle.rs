//! The engine of a process and the handles of its tasks.
//!
//! One [`Engine`] owns one runtime, one client and one set of limits. [`Engine::submit`] returns a [`Handle`] at once;
//! endings are announced through one event descriptor, so that an event loop needs no thread per task.

mod task;

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderValue;
use parking_lot::{Condvar, Mutex};
use rustix::event::EventfdFlags;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

pub use self::task::Handle;
use self::task::{Order, Task};
use crate::download::{Context, Outcome, download};
use crate::error::{Error, Result};
use crate::fragments::OfferedStream;
use crate::guard::EgressPolicy;
use crate::limit::{ConnectionPermits, RateLimits};
use crate::net::Client;
use crate::net::connector::Connector;
use crate::net::tls::TlsSettings;
use crate::progress::{Progress, Snapshot, State};
use crate::request::{Request, Source};

/// How an engine is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Hosts, addresses or networks that may be reached although they are not public.
    pub egress_allow: Vec<String>,
    /// Roots in addition to the platform's.
    pub ca_file: Option<PathBuf>,
    /// Connections in use at once.
    pub max_connections: u32,
    /// Of these, to one host.
    pub max_connections_per_host: u32,
    /// Bytes per second of all tasks.
    pub rate_limit: Option<u64>,
    /// Bytes of every disk that stay free whatever is downloaded, at most a twentieth of the disk.
    pub disk_floor: u64,
    /// Default `User-Agent`.
    pub user_agent: String,
    /// Threads of the runtime; `None` is one for each core, at least two and at most four. A thread without work
    /// is woken for what another is doing already: a third one on two cores costs a tenth of a download's time.
    pub worker_threads: Option<usize>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            egress_allow: Vec::new(),
            ca_file: None,
            max_connections: 256,
            max_connections_per_host: 16,
            rate_limit: None,
            disk_floor: 0,
            user_agent: format!("vasset/{}", env!("CARGO_PKG_VERSION")),
            worker_threads: None,
        }
    }
}

/// One per process. Dropping it cancels every task.
pub struct Engine {
    shared: Arc<Shared>,
    runtime: Mutex<Option<tokio::runtime::Runtime>>,
}

struct Shared {
    client: Client,
    rates: RateLimits,
    permits: ConnectionPermits,
    tasks: Mutex<BTreeMap<u64, Arc<Task>>>,
    next_id: Mutex<u64>,
    completions: Completions,
    disk_floor: u64,
    process: u32,
    spawner: tokio::runtime::Handle,
}

/// The ids that ended, and the descriptor that is readable while there are any.
struct Completions {
    ended: Mutex<VecDeque<u64>>,
    event: OwnedFd,
}

impl Engine {
    /// Starts the runtime. Nothing is connected and no certificate is read before the first request.
    pub fn new(settings: &Settings) -> Result<Self> {
        let cannot = |cause: &dyn std::fmt::Display| Error::InvalidRequest(format!("the engine cannot start: {cause}"));
        let policy = EgressPolicy::new(&settings.egress_allow)?;
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(settings.worker_threads.unwrap_or(cores.clamp(2, 4)).max(1))
            .thread_name("vasset-engine")
            .on_thread_start(give_way())
            .enable_all()
            .build()
            .map_err(|cause| cannot(&cause))?;
        let user_agent = HeaderValue::from_str(&settings.user_agent).map_err(|cause| cannot(&cause))?;
        let permits = ConnectionPermits::new(settings.max_connections, settings.max_connections_per_host);
        let connector = Connector::new(policy, TlsSettings::new(settings.ca_file.as_deref()));
        let rates = RateLimits::new();
        rates.set_global(settings.rate_limit);
        let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        let event = rustix::event::eventfd(0, flags).map_err(|cause| cannot(&cause))?;
        let shared = Shared {
            client: Client::new(connector, permits.clone(), user_agent),
            rates,
            permits,
            tasks: Mutex::default(),
            next_id: Mutex::new(1),
            completions: Completions { ended: Mutex::default(), event },
            disk_floor: settings.disk_floor,
            process: std::process::id(),
            spawner: runtime.handle().clone(),
        };
        Ok(Self { shared: Arc::new(shared), runtime: Mutex::new(Some(runtime)) })
    }

    /// Starts the request and returns at once. Errors here are the request's own; everything else ends the handle.
    pub fn submit(&self, request: Request) -> Result<Handle> {
        self.shared.check_process()?;
        if self.runtime.lock().is_none() {
            return Err(Error::Cancelled);
        }
        request.validate()?;
        let host = match &request.source {
            Source::Fragments(list) if list.is_empty() => String::new(),
            source => self.shared.client.check_url(source.url())?.host().to_string(),
        };
        let id = {
            let mut next = self.shared.next_id.lock();
            *next += 1;
            *next - 1
        };
        let task = Arc::new(Task {
            id,
            progress: Arc::new(Progress::default()),
            order: watch::Sender::new(Order::Run),
            limiter: self.shared.rates.task(&host, request.rate_limit, request.weight),
            holder: self.shared.permits.holder(request.weight),
            request: Mutex::new(request),
            outcome: Mutex::new(None),
            ended: Condvar::new(),
        });
        self.shared.tasks.lock().insert(id, task.clone());
        self.shared.start(&task);
        Ok(Handle { task, shared: self.shared.clone() })
    }

    /// Reads the playlist of the request and answers what it lets one choose from, through `answer` and from a thread of
    /// the runtime. Nothing is written.
    pub fn look(
        &self,
        request: Request,
        answer: impl FnOnce(Result<Vec<OfferedStream>>) + Send + 'static,
    ) -> Result<()> {
        self.shared.check_process()?;
        request.validate()?;
        let host = self.shared.client.check_url(request.source.url())?.host().to_string();
        let context = Context {
            client: self.shared.client.clone(),
            limiter: self.shared.rates.task(&host, request.rate_limit, request.weight),
            progress: Arc::default(),
            holder: self.shared.permits.holder(request.weight),
            spawned: TaskTracker::new(),
            disk_floor: self.shared.disk_floor,
            published: Arc::default(),
        };
        self.shared.spawner.spawn(async move {
            answer(crate::fragments::offered(&context, &request).await);
        });
        Ok(())
    }

    /// The numbers of every task that has not ended, oldest first.
    pub fn snapshot(&self) -> Vec<Snapshot> {
        let tasks: Vec<Arc<Task>> = self.shared.tasks.lock().values().cloned().collect();
        tasks.iter().map(|task| task.progress.snapshot(task.id)).collect()
    }

    /// Changes what is given, at once and for running tasks too; a rate of 0 removes the limit.
    pub fn set_limits(&self, rate: Option<u64>, connections: Option<u32>, per_host: Option<u32>) -> Result<()> {
        self.shared.check_process()?;
        if let Some(rate) = rate {
            self.shared.rates.set_global(Some(rate).filter(|rate| *rate > 0));
        }
        if connections.is_some() || per_host.is_some() {
            self.shared.permits.set_limits(connections, per_host);
        }
        Ok(())
    }

    /// Bounds what all tasks together take from one host.
    pub fn set_host_limit(&self, host: &str, rate: Option<u64>) -> Result<()> {
        self.shared.check_process()?;
        self.shared.rates.set_host(host, rate.filter(|rate| *rate > 0));
        Ok(())
    }

    /// Readable while [`Engine::drain_completions`] has something.
    pub fn completion_fd(&self) -> RawFd {
        self.shared.completions.event.as_raw_fd()
    }

    /// The ids that ended since the last call, in the order they ended.
    pub fn drain_completions(&self) -> Vec<u64> {
        let mut ended = self.shared.completions.ended.lock();
        let mut count = [0; 8];
        let _ = rustix::io::read(self.shared.completions.event.as_fd(), &mut count);
        ended.drain(..).collect()
    }

    /// The egress-checked HTTP client, for what belongs to downloads but is none.
    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// Where the engine's tasks run.
    pub fn spawner(&self) -> &tokio::runtime::Handle {
        &self.shared.spawner
    }

    /// Whether this process made the engine.
    pub fn check_process(&self) -> Result<()> {
        self.shared.check_process()
    }

    /// Cancels every task, waits until their journals are written, and ends the runtime. Idempotent.
    pub fn close(&self) {
        if self.shared.check_process().is_err() {
            // The threads are in the parent; there is nothing to stop and nobody to wait for.
            std::mem::forget(self.runtime.lock().take());
            return;
        }
        let tasks: Vec<Arc<Task>> = self.shared.tasks.lock().values().cloned().collect();
        tasks.iter().for_each(|task| task.command(Order::Cancel));
        tasks.iter().for_each(|task| {
            task.wait(Some(Duration::from_secs(5)));
        });
        if let Some(runtime) = self.runtime.lock().take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

/// Processors that are short go to the event loop first: it has milliseconds of work, and people wait for it.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 5;

/// What each thread of the engine does first. The priority is counted from the caller's, since threads inherit it from one another.
/// On Linux it belongs to the thread, elsewhere to the whole process. Without it all is as well, only less prompt.
fn give_way() -> impl Fn() + Send + Sync + 'static {
    #[cfg(target_os = "linux")]
    let priority = rustix::process::getpriority_process(None).map(|own| own + NICENESS);
    move || {
        #[cfg(target_os = "linux")]
        if let Ok(priority) = priority {
            let _ = rustix::process::setpriority_process(None, priority);
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn check_process(&self) -> Result<()> {
        if self.process == std::process::id() { Ok(()) } else { Err(Error::Forked) }
    }

    fn start(self: &Arc<Self>, task: &Arc<Task>) {
        let (shared, task) = (self.clone(), task.clone());
        self.spawner.spawn(async move {
            let outcome = shared.drive(&task).await;
            shared.end(&task, outcome);
        });
    }

    /// Runs the task, and again after each pause.
    async fn drive(&self, task: &Task) -> Result<Outcome> {
        let mut orders = task.order.subscribe();
        loop {
            task.progress.set_order(false);
            let order = *orders.borrow_and_update();
            match order {
                Order::Cancel => return Err(Error::Cancelled),
                Order::Pause => {
                    task.progress.set_state(State::Paused);
                    if orders.changed().await.is_err() {
                        return Err(Error::Cancelled);
                    }
                }
                Order::Run => {
                    let request = task.request.lock().clone();
                    let context = self.context(task);
                    let outcome = tokio::select! {
                        biased;
                        _ = orders.wait_for(|order| *order != Order::Run) => None,
                        outcome = run(&context, &request) => Some(outcome),
                    };
                    // Connections that were cut off still hold the part file's lock until they have been dropped, and a
                    // file that was being published then has its name: no order or timeout makes that undone.
                    context.spawned.close();
                    context.spawned.wait().await;
                    if let Some(published) = context.published.get() {
                        return Ok(published.clone());
                    }
                    if let Some(outcome) = outcome {
                        return outcome;
                    }
                }
            }
        }
    }

    fn context(&self, task: &Task) -> Context {
        Context {
            client: self.client.clone(),
            limiter: task.limiter.clone(),
            progress: task.progress.clone(),
            holder: task.holder.clone(),
            spawned: TaskTracker::new(),
            disk_floor: self.disk_floor,
            published: Arc::default(),
        }
    }

    fn end(&self, task: &Task, outcome: Result<Outcome>) {
        task.progress.set_state(match &outcome {
            Ok(_) => State::Completed,
            Err(Error::Cancelled) => State::Cancelled,
            Err(_) => State::Failed,
        });
        self.tasks.lock().remove(&task.id);
        *task.outcome.lock() = Some(outcome);
        task.ended.notify_all();
        self.completions.ended.lock().push_back(task.id);
        let _ = rustix::io::write(self.completions.event.as_fd(), &1_u64.to_ne_bytes());
    }
}

async fn run(context: &Context, request: &Request) -> Result<Outcome> {
    let work = async {
        match &request.source {
            Source::Single { .. } => download(context, request).await,
            Source::Hls { .. } | Source::Dash { .. } | Source::Fragments(_) => {
                crate::fragments::download(context, request).await
            }
        }
    };
    match request.timeout {
        None => work.await,
        Some(timeout) => tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| {
            let place = request.target.display().to_string();
            Err(Error::Timeout { what: "the download", place, seconds: timeout.as_secs_f64() })
        }),
    }
}
