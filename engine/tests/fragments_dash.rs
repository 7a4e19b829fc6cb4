//! DASH manifests joined from an honest origin, and those that are refused.

mod support;

use support::download::Lab;
use support::file;
use support::playlist::{Site, fragment};
use vasset_engine::download::Outcome;
use vasset_engine::error::Error;
use vasset_engine::fragments::Selection;
use vasset_engine::request::Source;

fn join(lab: &Lab, url: String) -> Result<Outcome, Error> {
    let mut request = lab.request(&url);
    request.source = Source::Dash { url };
    request.retries = 1;
    lab.run(request)
}

/// A static manifest around the periods.
fn manifest(periods: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" \
         mediaPresentationDuration=\"PT10S\">{periods}</MPD>"
    )
}

/// One period with one video representation that holds `segments`.
fn video(segments: &str) -> String {
    manifest(&format!(
        "<Period><AdaptationSet contentType=\"video\"><Representation id=\"v\" bandwidth=\"900\">{segments}\
         </Representation></AdaptationSet></Period>"
    ))
}

#[track_caller]
fn assert_joins(site: Site, text: &str, expected: &[u8]) {
    let origin = site.with("/m.mpd", text).start();
    let lab = Lab::new();
    lab.assert_holds(join(&lab, origin.url("/m.mpd")), expected);
}

#[test]
fn a_timeline_names_segments_by_time_and_number() {
    let text = video(
        "<SegmentTemplate timescale=\"1000\" startNumber=\"5\" initialization=\"$RepresentationID$-init\" \
         media=\"$Number%03d$-$Time$\"><SegmentTimeline><S t=\"0\" d=\"4000\" r=\"1\"/><S d=\"2000\"/>\
         </SegmentTimeline></SegmentTemplate>",
    );
    let site = Site::new().with("/v-init", "I").with("/005-0", "a").with("/006-4000", "b").with("/007-8000", "c");
    assert_joins(site, &text, b"Iabc");
}

#[test]
fn equal_durations_cover_the_presentation() {
    let text = video("<SegmentTemplate timescale=\"10\" duration=\"40\" media=\"s$Number$\"/>");
    let site = Site::new().with("/s1", "a").with("/s2", "b").with("/s3", "c");
    assert_joins(site, &text, b"abc");
}

#[test]
fn an_open_repeat_ends_with_the_period() {
    let text = video(
        "<SegmentTemplate timescale=\"1\" media=\"$Time$\"><SegmentTimeline><S t=\"0\" d=\"5\" r=\"-1\"/>\
         </SegmentTimeline></SegmentTemplate>",
    );
    assert_joins(Site::new().with("/0", "a").with("/5", "b"), &text, b"ab");
}

#[test]
fn a_segment_list_takes_addresses_and_ranges() {
    let text = video(
        "<SegmentList><Initialization sourceURL=\"f\" range=\"0-9\"/><SegmentURL media=\"f\" mediaRange=\"10-99\"/>\
         <SegmentURL media=\"g\"/></SegmentList>",
    );
    let (whole, other) = (fragment(0, 200), fragment(1, 50));
    let expected = [&whole[..100], &other].concat();
    assert_joins(Site::new().with("/f", &whole).with("/g", &other), &text, &expected);
}

#[test]
fn base_addresses_are_inherited_and_periods_follow_each_other() {
    let period = |base: &str, name: &str| {
        format!(
            "<Period duration=\"PT5S\"><BaseURL>{base}/</BaseURL><AdaptationSet mimeType=\"video/mp4\">\
             <BaseURL>set/</BaseURL><Representation id=\"v\" bandwidth=\"1\"><SegmentList>\
             <SegmentURL media=\"{name}\"/></SegmentList></Representation></AdaptationSet></Period>"
        )
    };
    let text = manifest(&format!("<BaseURL>/root/</BaseURL>{}{}", period("one", "x"), period("two", "y")));
    assert_joins(Site::new().with("/root/one/set/x", "first").with("/root/two/set/y", "second"), &text, b"firstsecond");
}

#[test]
fn an_indexed_file_is_the_resource_byte_for_byte() {
    let (header, sizes) = (file::bytes(1, 700), [300_000_u32, 400_000, 100]);
    let mut index = Vec::new();
    for word in [0, 1, 1_000, 0, 0, sizes.len() as u32] {
        index.extend_from_slice(&u32::to_be_bytes(word));
    }
    for size in sizes {
        for word in [size, 4_000, 0] {
            index.extend_from_slice(&u32::to_be_bytes(word));
        }
    }
    let mut whole = header.clone();
    whole.extend_from_slice(&(index.len() as u32 + 8).to_be_bytes());
    whole.extend_from_slice(b"sidx");
    whole.extend(index);
    let end = whole.len();
    whole.extend(file::bytes(2, sizes.iter().sum::<u32>() as usize));
    let text = video(&format!("<BaseURL>f.mp4</BaseURL><SegmentBase indexRange=\"700-{}\"/>", end - 1));
    assert_joins(Site::new().with("/f.mp4", &whole), &text, &whole);
}

#[test]
fn the_highest_video_is_chosen_and_a_file_without_segments_is_taken_whole() {
    let text = manifest(
        "<Period><AdaptationSet mimeType=\"audio/mp4\"><Representation id=\"a\" bandwidth=\"9999\"><BaseURL>a</BaseURL>\
         </Representation></AdaptationSet><AdaptationSet mimeType=\"video/mp4\"><Representation id=\"l\" bandwidth=\"1\">\
         <BaseURL>l</BaseURL></Representation><Representation id=\"h\" bandwidth=\"2\"><BaseURL>h&amp;x</BaseURL>\
         </Representation></AdaptationSet></Period>",
    );
    assert_joins(Site::new().with("/h&x", "high"), &text, b"high");
}

/// An adaptation set of one file a representation, named and priced by `files`.
fn sound(attributes: &str, inside: &str, files: &[(&str, u32)]) -> String {
    let files: String = files
        .iter()
        .map(|(name, bandwidth)| {
            format!(
                "<Representation id=\"{name}\" bandwidth=\"{bandwidth}\"><BaseURL>{name}</BaseURL></Representation>"
            )
        })
        .collect();
    format!("<AdaptationSet contentType=\"audio\" {attributes}>{inside}{files}</AdaptationSet>")
}

fn join_audio(text: &str, language: Option<&str>) -> Result<Vec<u8>, Error> {
    join_selected(text, Selection::Audio { language: language.map(str::to_owned) })
}

fn join_selected(text: &str, selection: Selection) -> Result<Vec<u8>, Error> {
    let names = ["en-low", "en-high", "fr", "de", "notes", "2-en", "2-de"];
    let site = names.iter().fold(Site::new(), |site, name| site.with(&format!("/{name}"), format!("({name})")));
    let origin = site.with("/m.mpd", text).start();
    let lab = Lab::new();
    let mut request = lab.request(&origin.url("/m.mpd"));
    request.source = Source::Dash { url: origin.url("/m.mpd") };
    request.selection = selection;
    lab.run(request).map(|outcome| std::fs::read(outcome.path).unwrap())
}

const MAIN: &str = "<Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"main\"/>";

#[test]
fn of_several_languages_the_main_one_is_taken_and_every_other_can_be_asked_for() {
    let notes = "<Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"commentary\"/><Label>Notes</Label>";
    let sets = sound("lang=\"fr\"", "", &[("fr", 640_000)])
        + &sound("lang=\"en-US\"", notes, &[("notes", 512_000)])
        + &sound("lang=\"en-US\"", MAIN, &[("en-low", 64_000), ("en-high", 128_000)])
        + &sound("lang=\"de\"", "", &[("de", 96_000)]);
    let text = manifest(&format!("<Period>{sets}</Period>"));
    for (language, expected) in [
        (None, "(en-high)"),
        (Some("en"), "(en-high)"),
        (Some("EN-us"), "(en-high)"),
        (Some("de"), "(de)"),
        (Some("fr"), "(fr)"),
    ] {
        assert_eq!(join_audio(&text, language).unwrap(), expected.as_bytes(), "{language:?}");
    }
    for absent in ["e", "en-GB", "ja"] {
        let error = join_audio(&text, Some(absent)).unwrap_err();
        assert_eq!(error.code(), "invalid_request", "{absent}");
        assert!(error.to_string().contains("de"), "it says what there is: {error}");
    }
    // Without a main one the author's order decides, not the number of bits.
    assert_eq!(join_audio(&text.replace(MAIN, ""), None).unwrap(), b"(fr)");
}

#[test]
fn later_periods_go_on_in_the_same_kind_and_language_whatever_they_call_it() {
    let first = sound("lang=\"en\"", MAIN, &[("en-high", 128_000)]) + &sound("lang=\"de\"", "", &[("de", 96_000)]);
    let picture = "<AdaptationSet contentType=\"video\"><Representation id=\"de\" bandwidth=\"96000\">\
                   <BaseURL>none</BaseURL></Representation></AdaptationSet>";
    let second = sound("lang=\"en\"", MAIN, &[("2-en", 96_000)]) + &sound("lang=\"de\"", "", &[("2-de", 32_000)]);
    let text = manifest(&format!(
        "<Period duration=\"PT5S\">{first}</Period><Period duration=\"PT5S\">{picture}{second}</Period>"
    ));
    for (language, expected) in [(None, "(en-high)(2-en)"), (Some("de"), "(de)(2-de)")] {
        assert_eq!(join_audio(&text, language).unwrap(), expected.as_bytes(), "{language:?}");
    }
    // The number of a stream is its number in the first period.
    for (index, expected) in [(0, "(en-high)(2-en)"), (1, "(de)(2-de)")] {
        assert_eq!(join_selected(&text, Selection::Index(index)).unwrap(), expected.as_bytes(), "{index}");
    }
    // At the end a period without sound is silent.
    let silent = text.replace(&second, "");
    assert_eq!(join_audio(&silent, Some("de")).unwrap(), b"(de)");
}

#[test]
fn live_drm_and_remote_elements_are_unsupported_and_bombs_are_refused() {
    let protected = video("<ContentProtection schemeIdUri=\"urn:uuid:edef8ba9\"/><BaseURL>f</BaseURL>");
    let live = manifest("").replace("static\"", "dynamic\" minimumUpdatePeriod=\"PT5S\"");
    let remote = manifest("<Period xlink:href=\"http://127.0.0.1/p\"/>");
    let entities = "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;\">]><MPD>&b;</MPD>".to_owned();
    let deep = format!("<MPD>{}</MPD>", "<a>".repeat(100_000));
    let endless = video(
        "<SegmentTemplate media=\"$Time$\"><SegmentTimeline><S t=\"0\" d=\"1\" r=\"9223372036854775807\"/>\
         </SegmentTimeline></SegmentTemplate>",
    );
    let wide = video("<SegmentTemplate duration=\"1\" media=\"$Number%0999999999d$\"/>");
    let cut = video("<BaseURL>f</BaseURL>").replace("</MPD>", "");
    for (text, code) in [
        (protected, "unsupported"),
        (live, "unsupported"),
        (remote, "unsupported"),
        (entities, "origin_lied"),
        (deep, "limit_exceeded"),
        (endless, "limit_exceeded"),
        (wide, "origin_lied"),
        (cut, "origin_lied"),
    ] {
        let origin = Site::new().with("/m.mpd", &text).start();
        let lab = Lab::new();
        lab.assert_refused(join(&lab, origin.url("/m.mpd")), &[code]);
    }
}
