//! Playlists from an HTTP/2 origin, and the engine that joins them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use vasset_engine::download::Outcome;
use vasset_engine::error::Error;
use vasset_engine::request::{Request, Source};

use super::download::{Lab, within};
use super::http2_origin::{Act, Asked, Ending, Http2Origin};
use super::playlist::{Site, playlist};

/// Of every fragment, about.
pub const LENGTH: usize = 20_000;

/// An engine that trusts the origin.
pub fn lab(origin: &Http2Origin) -> Lab {
    Lab::with(|settings| settings.ca_file = Some(origin.ca_file().to_owned()))
}

/// A request for its playlist `/i.m3u8`.
pub fn request(lab: &Lab, origin: &Http2Origin) -> Request {
    let url = origin.url("/i.m3u8");
    let mut request = lab.request(&url);
    request.source = Source::Hls { url };
    request
}

/// Joins the playlist.
pub fn join(lab: &Lab, origin: &Http2Origin) -> Result<Outcome, Error> {
    within(Duration::from_secs(25), || lab.run(request(lab, origin)))
}

/// An origin of `count` fragments that answers some requests otherwise.
pub fn origin_of(count: usize, otherwise: impl Fn(&Asked) -> Option<Act> + Send + Sync + 'static) -> Http2Origin {
    Http2Origin::start(scripted(count, otherwise))
}

/// Answers of a site of `count` fragments, some of them otherwise.
pub fn scripted(
    count: usize,
    otherwise: impl Fn(&Asked) -> Option<Act> + Send + Sync + 'static,
) -> impl Fn(&Asked) -> Act + Send + Sync + 'static {
    let site = Site::new().with("/i.m3u8", playlist(count)).with_fragments(count, LENGTH);
    move |asked| {
        otherwise(asked).unwrap_or_else(|| match site.bytes(&asked.path) {
            Some(bytes) => Act::File(bytes.to_vec()),
            None => Act::say("", Ending::End).status(404),
        })
    }
}

/// Whether this is the first request for `path`.
pub fn first_for(path: &'static str) -> impl Fn(&Asked) -> bool + Send + Sync + 'static {
    let is_first = AtomicBool::new(true);
    move |asked| asked.path == path && is_first.swap(false, Ordering::SeqCst)
}
