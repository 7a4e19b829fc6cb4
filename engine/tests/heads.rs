//! Heads that every client reads although they break the rules, and what stays refused because clients read it differently.

mod support;

use support::download::Lab;
use support::file;
use support::origin::Origin;

fn contents() -> Vec<u8> {
    file::bytes(11, 200_000)
}

/// Answers every request with these header lines and the file, on a connection that stays open.
fn answering(lines: &str) -> Origin {
    let head = format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: {}\r\n\r\n", contents().len());
    Origin::start(move |_, wire| {
        wire.send(&head);
        wire.send(contents());
    })
}

#[test]
fn odd_lines_in_a_head_are_survived() {
    let many = "Set-Cookie: c=1\r\n".repeat(500);
    for lines in [
        "Content-Security-Policy:\r\n   default-src a;\r\n\tframe-src b\r\n",
        "Access-Control-Allow-Credentials : true\r\n",
        "PHP Warning: PHP Startup: Unable to load dynamic library '/x.so' in Unknown on line 0\r\n",
        "  a line that is folded onto nothing\r\n",
        "HTTP/1.1 200 OK\r\n",
        ": no name\r\n",
        "X-Odd: a\x01b\r\n",
        many.as_str(),
    ] {
        let origin = answering(lines);
        let lab = Lab::new();
        lab.assert_holds(lab.fetch(&origin.url("/f")), &contents());
    }
}

#[test]
fn a_connection_with_an_odd_head_serves_no_second_request() {
    let lab = Lab::new();
    for (lines, connections) in [("", 1), ("A : b\r\n", 2)] {
        let origin = answering(lines);
        for _ in 0..2 {
            lab.assert_holds(lab.fetch(&origin.url("/f")), &contents());
            std::fs::remove_file(lab.target()).unwrap();
        }
        assert_eq!(origin.connections(), connections, "{lines:?}");
    }
}

#[test]
fn odd_lines_that_might_be_the_length_of_the_body_are_refused() {
    for lines in [
        "Content-Length : 5\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "PHP Content-Length: 5\r\n",
        "A: b\0\r\n",
    ] {
        let origin = answering(lines);
        let lab = Lab::new();
        lab.assert_refused(lab.fetch(&origin.url("/f")), &["origin_lied"]);
    }
}

#[test]
fn a_203_is_the_file() {
    let head = format!("HTTP/1.1 203 Transformed\r\nContent-Length: {}\r\n\r\n", contents().len());
    let origin = Origin::start(move |_, wire| {
        wire.send(&head);
        wire.send(contents());
    });
    let lab = Lab::new();
    lab.assert_holds(lab.fetch(&origin.url("/f")), &contents());
}

fn with_length_and_chunks(length: usize) -> Vec<u8> {
    let file = contents();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n");
    [head.as_bytes(), format!("{:x}\r\n", file.len()).as_bytes(), &file, b"\r\n0\r\n\r\n"].concat()
}

#[test]
fn of_a_length_and_chunks_the_chunks_count_and_the_connection_ends() {
    for length in [contents().len(), 5] {
        let origin = Origin::start(move |_, wire| wire.send(with_length_and_chunks(length)));
        let lab = Lab::new();
        for _ in 0..2 {
            lab.assert_holds(lab.fetch(&origin.url("/f")), &contents());
            std::fs::remove_file(lab.target()).unwrap();
        }
        assert_eq!(origin.connections(), 2, "one was used again");
    }
}

#[test]
fn a_length_and_chunks_on_a_kept_connection_are_asked_for_again_on_a_fresh_one() {
    let origin = Origin::start(|request, wire| match request.target.as_str() {
        "/start" => wire.send("HTTP/1.1 302 Found\r\nLocation: /f\r\nContent-Length: 0\r\n\r\n"),
        _ => wire.send(with_length_and_chunks(7)),
    });
    let lab = Lab::new();
    lab.assert_holds(lab.fetch(&origin.url("/start")), &contents());
    let asked: Vec<(String, usize)> =
        origin.requests().into_iter().map(|request| (request.target, request.connection)).collect();
    assert_eq!(asked, [("/start".to_owned(), 0), ("/f".to_owned(), 0), ("/f".to_owned(), 1)]);
}

#[test]
fn a_location_in_latin_1_goes_back_as_it_came() {
    let origin = Origin::start(|request, wire| match request.target.as_str() {
        "/start" => wire.send(b"HTTP/1.1 302 Found\r\nLocation: /jos\xe9 1.mp4\r\nContent-Length: 0\r\n\r\n"),
        "/jos%E9%201.mp4" => wire.serve(request, &contents(), None),
        other => panic!("asked for {other}"),
    });
    let lab = Lab::new();
    lab.assert_holds(lab.fetch(&origin.url("/start")), &contents());
}

#[test]
fn a_space_in_the_path_of_an_address_is_forgiven() {
    let origin = Origin::start(|request, wire| match request.target.as_str() {
        "/a%20b%20(1).mp4?x=%20y" => wire.serve(request, &contents(), None),
        other => panic!("asked for {other}"),
    });
    let lab = Lab::new();
    lab.assert_holds(lab.fetch(&origin.url("/a b (1).mp4?x= y")), &contents());
}
