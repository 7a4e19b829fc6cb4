//! One response from the first byte to the last: for origins without ranges, without a length or without a strong
//! validator. A response is one version of the file by itself; two could be spliced from two versions.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::hash::{Algorithm, Sequential};
use crate::limit::TaskLimiter;
use crate::net::hot::HOT_BYTES;
use crate::net::{Body, Response};
use crate::progress::Progress;
use crate::sink::PartFile;

/// How often silence and speed are looked at.
const TICK: Duration = Duration::from_millis(250);

/// The bounds of one response.
pub struct Bounds<'a> {
    /// The task's rate limit.
    pub limiter: &'a TaskLimiter,
    /// The task's numbers.
    pub progress: &'a Progress,
    /// Silence.
    pub idle_timeout: Duration,
    /// Bytes per second over `idle_timeout`; 0 is off.
    pub minimum_speed: u64,
    /// Refuse more.
    pub max_bytes: Option<u64>,
}

/// Writes the body to the empty part file and returns length and digests. `total` is the length the head named.
pub async fn fetch_whole(
    part: &PartFile,
    mut response: Response,
    total: Option<u64>,
    algorithms: &[Algorithm],
    bounds: &Bounds<'_>,
) -> Result<(u64, Vec<(Algorithm, String)>)> {
    part.set_length(0)?;
    if let Some(total) = total {
        part.expect(total)?;
        part.set_length(total)?;
    }
    let mut hashes = Sequential::new(algorithms, true);
    let mut position = 0_u64;
    let mut watch = Watch::new(bounds, response.body.host());
    loop {
        let limit = bounds.limiter.take(HOT_BYTES).await;
        let (hot, read) = watch.read(&mut response.body, limit, position).await?;
        bounds.limiter.refund(limit - read);
        if read == 0 {
            break;
        }
        if let Some(most) = bounds.max_bytes
            && position + read as u64 > most
        {
            return Err(Error::LimitExceeded { what: "the size of the file".to_owned(), limit: most });
        }
        hashes.update(&hot[..read]);
        part.write_at(&hot[..read], position).inspect_err(|error| give_back(part, error))?;
        crate::faultpoint!("K6");
        position += read as u64;
        bounds.progress.add(read as u64);
        drop(hot);
        bounds.progress.give_way().await;
    }
    if let Some(total) = total
        && total != position
    {
        let detail = format!("{position} of {total} bytes came");
        return Err(Error::Truncated { place: response.body.host().to_owned(), detail });
    }
    response.body.remark_on(bounds.progress);
    part.set_length(position)?;
    Ok((position, hashes.finish()))
}

/// Nothing can go on from these bytes, and others wait for their room.
fn give_back(part: &PartFile, error: &Error) {
    if matches!(error, Error::DiskFull { .. }) {
        let _ = part.set_length(0);
    }
}

struct Watch<'a> {
    bounds: &'a Bounds<'a>,
    place: String,
    ticks: tokio::time::Interval,
    silent: Duration,
    window: (Duration, u64),
    last: u64,
}

impl<'a> Watch<'a> {
    fn new(bounds: &'a Bounds<'a>, host: &str) -> Self {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Self { bounds, place: host.to_owned(), ticks, silent: Duration::ZERO, window: (Duration::ZERO, 0), last: 0 }
    }

    async fn read(
        &mut self,
        body: &mut Body,
        limit: usize,
        position: u64,
    ) -> Result<(crate::net::hot::HotBuffer, usize)> {
        loop {
            tokio::select! {
                biased;
                read = body.read_hot(position, limit) => {
                    self.silent = Duration::ZERO;
                    return read;
                }
                _ = self.ticks.tick() => self.on_tick(position)?,
            }
        }
    }

    fn on_tick(&mut self, position: u64) -> Result<()> {
        let timeout = self.bounds.idle_timeout;
        self.silent += TICK;
        self.window.0 += TICK;
        self.bounds.progress.set_speed((position - self.last) as f64 / TICK.as_secs_f64());
        self.last = position;
        let seconds = timeout.as_secs_f64();
        if self.silent > timeout {
            return Err(Error::Timeout { what: "the silence", place: self.place.clone(), seconds });
        }
        if self.window.0 >= timeout {
            let is_slow =
                ((position - self.window.1) as f64) < self.bounds.minimum_speed as f64 * self.window.0.as_secs_f64();
            self.window = (Duration::ZERO, position);
            if is_slow && !self.bounds.limiter.is_limited() {
                let what = "the crawl below the minimum speed";
                return Err(Error::Timeout { what, place: self.place.clone(), seconds });
            }
        }
        Ok(())
    }
}
