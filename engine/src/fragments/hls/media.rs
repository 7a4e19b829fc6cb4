//! Media playlists: tags in force at each line → ordered fragments.

use url::Url;

use super::attributes::Attributes;
use super::encryption::KeysInForce;
use super::numbered_lines;
use crate::fragments::address::{resolve, resolve_inline, shown};
use crate::fragments::bounds::PlaylistLimits;
use crate::fragments::fragment::{Fragment, FragmentCollector, FragmentKind, FragmentList, FragmentRange, ListKind};
use crate::fragments::refusal::PlaylistError;

/// Tags that are understood to change nothing about which bytes are joined.
const HARMLESS: [&str; 16] = [
    "#EXTM3U",
    "#EXT-X-VERSION",
    "#EXT-X-TARGETDURATION",
    "#EXT-X-INDEPENDENT-SEGMENTS",
    "#EXT-X-START",
    "#EXT-X-DISCONTINUITY-SEQUENCE",
    "#EXT-X-PROGRAM-DATE-TIME",
    "#EXT-X-DATERANGE",
    "#EXT-X-BITRATE",
    "#EXT-X-ALLOW-CACHE",
    "#EXT-X-SERVER-CONTROL",
    "#EXT-X-PART-INF",
    "#EXT-X-PART",
    "#EXT-X-PRELOAD-HINT",
    "#EXT-X-RENDITION-REPORT",
    "#EXT-X-DEFINE",
];

/// Parses a media playlist into its fragments.
pub(super) fn parse(text: &str, location: &Url, limits: &PlaylistLimits) -> Result<FragmentList, PlaylistError> {
    let mut reader = MediaReader::new(location, limits);
    for (line, content) in numbered_lines(text) {
        if let Some(tag) = content.strip_prefix('#') {
            reader.tag(line, content, tag)?;
        } else {
            reader.segment(line, content)?;
        }
    }
    reader.finish()
}

/// What the tags so far say about the next segment.
struct MediaReader<'text> {
    location: &'text Url,
    collector: FragmentCollector,
    keys: KeysInForce,
    media_sequence: u64,
    has_segments: bool,
    duration_microseconds: u64,
    pending_range: Option<(u64, Option<u64>)>,
    previous_end: Option<(Url, u64)>,
    current_map: Option<(Url, Option<FragmentRange>)>,
    /// Written before the next segment: a header that none follows is of no use.
    pending_map: Option<Fragment>,
    is_gap: bool,
    is_ended: bool,
    is_vod: bool,
}

impl<'text> MediaReader<'text> {
    fn new(location: &'text Url, limits: &PlaylistLimits) -> Self {
        Self {
            location,
            collector: FragmentCollector::new(ListKind::Hls, *limits),
            keys: KeysInForce::default(),
            media_sequence: 0,
            has_segments: false,
            duration_microseconds: 0,
            pending_range: None,
            previous_end: None,
            current_map: None,
            pending_map: None,
            is_gap: false,
            is_ended: false,
            is_vod: false,
        }
    }

    fn tag(&mut self, line: usize, content: &str, tag: &str) -> Result<(), PlaylistError> {
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        match name {
            "EXTINF" => self.duration_microseconds = parse_duration(value),
            "EXT-X-BYTERANGE" => self.pending_range = Some(parse_byte_range(line, value)?),
            "EXT-X-KEY" => self.keys.apply(line, &attributes(line, value)?, self.location)?,
            "EXT-X-MAP" => self.map(line, &attributes(line, value)?)?,
            "EXT-X-MEDIA-SEQUENCE" => self.sequence(line, value)?,
            "EXT-X-DISCONTINUITY" => self.collector.list_mut().discontinuities += 1,
            "EXT-X-GAP" => self.is_gap = true,
            "EXT-X-ENDLIST" => self.is_ended = true,
            "EXT-X-PLAYLIST-TYPE" => self.is_vod = value.trim() == "VOD",
            "EXT-X-I-FRAMES-ONLY" => return Err(PlaylistError::unsupported("I-frame playlists (EXT-X-I-FRAMES-ONLY)")),
            "EXT-X-SKIP" => return Err(PlaylistError::unsupported("delta updates (EXT-X-SKIP)")),
            _ if HARMLESS.iter().any(|known| content.split(':').next() == Some(known)) => {}
            _ if name.starts_with("EXT") => self.collector.list_mut().unknown_tags += 1,
            _ => {} // a comment
        }
        Ok(())
    }

    fn sequence(&mut self, line: usize, value: &str) -> Result<(), PlaylistError> {
        if self.has_segments {
            return Err(PlaylistError::at_line(line, "EXT-X-MEDIA-SEQUENCE comes after a segment"));
        }
        self.media_sequence = value
            .trim()
            .parse()
            .map_err(|_| PlaylistError::at_line(line, format!("the media sequence {value:?} is not a number")))?;
        Ok(())
    }

    /// Adds the header once for each change: after A, B, A it is needed three times.
    fn map(&mut self, line: usize, attributes: &Attributes<'_>) -> Result<(), PlaylistError> {
        let reference = attributes.get("URI").ok_or_else(|| PlaylistError::at_line(line, "EXT-X-MAP has no URI"))?;
        let url = resolve_inline(self.location, reference)?;
        let range = match attributes.get("BYTERANGE") {
            None => None,
            Some(text) => {
                let (length, offset) = parse_byte_range(line, text)?;
                Some(range_at(line, offset.unwrap_or(0), length)?)
            }
        };
        if self.current_map.as_ref().is_some_and(|current| *current == (url.clone(), range)) {
            return Ok(());
        }
        self.current_map = Some((url.clone(), range));
        self.pending_map = Some(Fragment {
            url,
            range,
            encryption: self.keys.of_map(self.media_sequence)?,
            kind: FragmentKind::Initialization,
            duration_microseconds: 0,
            is_presumed: false,
        });
        Ok(())
    }

    fn segment(&mut self, line: usize, reference: &str) -> Result<(), PlaylistError> {
        let url = resolve(self.location, reference)?;
        if url == *self.location {
            return Err(PlaylistError::SelfListing { location: shown(&url) });
        }
        refuse_text_segments(&url)?;
        let range = self.take_range(line, &url)?;
        let encryption = self.keys.of_segment(self.media_sequence)?;
        self.has_segments = true;
        self.media_sequence = self
            .media_sequence
            .checked_add(1)
            .ok_or_else(|| PlaylistError::at_line(line, "the media sequence passes 2^64"))?;
        let duration_microseconds = std::mem::take(&mut self.duration_microseconds);
        if std::mem::take(&mut self.is_gap) {
            self.collector.list_mut().declared_gaps += 1;
            return Ok(());
        }
        if let Some(map) = self.pending_map.take() {
            self.collector.push(map)?;
        }
        let kind = FragmentKind::Media;
        self.collector.push(Fragment { url, range, encryption, kind, duration_microseconds, is_presumed: false })
    }

    /// The pending `EXT-X-BYTERANGE`; without an offset it continues the previous range of the same
    /// resource, and without such a range it begins the resource, as every player takes it.
    fn take_range(&mut self, line: usize, url: &Url) -> Result<Option<FragmentRange>, PlaylistError> {
        let Some((length, offset)) = self.pending_range.take() else {
            self.previous_end = None;
            return Ok(None);
        };
        let start = match (offset, &self.previous_end) {
            (Some(offset), _) => offset,
            (None, Some((previous, end))) if previous == url => *end,
            (None, _) => 0,
        };
        let range = range_at(line, start, length)?;
        self.previous_end = Some((url.clone(), range.end()));
        Ok(Some(range))
    }

    fn finish(self) -> Result<FragmentList, PlaylistError> {
        if !self.is_ended && !self.is_vod {
            return Err(PlaylistError::Live);
        }
        self.collector.finish()
    }
}

fn attributes<'line>(line: usize, text: &'line str) -> Result<Attributes<'line>, PlaylistError> {
    Attributes::parse(text).ok_or_else(|| PlaylistError::at_line(line, "a quoted value has no closing quote"))
}

/// `n[@o]`.
fn parse_byte_range(line: usize, text: &str) -> Result<(u64, Option<u64>), PlaylistError> {
    let malformed = || PlaylistError::at_line(line, format!("the byte range {text:?} is not length[@offset]"));
    let (length, offset) = match text.trim().split_once('@') {
        Some((length, offset)) => (length, Some(offset.parse().map_err(|_| malformed())?)),
        None => (text.trim(), None),
    };
    Ok((length.parse().map_err(|_| malformed())?, offset))
}

fn range_at(line: usize, start: u64, length: u64) -> Result<FragmentRange, PlaylistError> {
    FragmentRange::from_length(start, length)
        .ok_or_else(|| PlaylistError::at_line(line, format!("{length} bytes at {start} is not a range")))
}

/// Seconds with a fraction; a bad one costs only the accuracy of a progress bar.
fn parse_duration(value: &str) -> u64 {
    let seconds: f64 = value.split(',').next().unwrap_or("").trim().parse().unwrap_or(0.0);
    if seconds.is_finite() && seconds > 0.0 { (seconds.min(1e9) * 1e6) as u64 } else { 0 }
}

/// WebVTT segments repeat their header and need their times shifted: joined as bytes they are wrong.
fn refuse_text_segments(url: &Url) -> Result<(), PlaylistError> {
    let path = url.path();
    if path.ends_with(".vtt") || path.ends_with(".webvtt") {
        return Err(PlaylistError::unsupported("segmented WebVTT subtitles"));
    }
    Ok(())
}
