//! Response heads that are not quite HTTP/1.1, made into what every client takes them for.
//!
//! Folded lines, spaces before the colon and lines that are no header at all (a PHP warning that got among them) are
//! everyday, and harmless where they do not decide how long the body is. There they stay refused: `Content-Length` and
//! `Transfer-Encoding` in such a form are read differently by different software, which is what smuggling lives on. Whoever
//! uses a tidied head closes its connection after the body.

/// Headers that decide where a body ends.
const FRAMING: [&[u8]; 2] = [b"content-length", b"transfer-encoding"];

/// The end of the first head in `bytes`, its blank line included.
pub fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let mut at = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    while let Some(newline) = bytes[at..].iter().position(|byte| *byte == b'\n') {
        at += newline + 1;
        match &bytes[at..] {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
    None
}

/// The same head with every field on one line of its own, and without the lines that are none.
///
/// # Errors
/// The problem in words, when it touches the status line or the framing of the body.
pub fn tidied(head: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let status_line = lines.find(|line| !line.is_empty()).unwrap_or_default();
    if !status_line.starts_with(b"HTTP/1.") {
        return Err("it does not begin with HTTP/1");
    }
    let mut fields = Fields { tidy: [status_line, b"\r\n"].concat(), current: None };
    for line in lines.take_while(|line| !line.is_empty()) {
        if line.iter().any(|byte| matches!(byte, 0 | b'\r')) {
            return Err("a header contains a NUL or a bare CR");
        }
        fields.take(line)?;
    }
    fields.finish_current();
    fields.tidy.extend_from_slice(b"\r\n");
    Ok(fields.tidy)
}

struct Fields<'head> {
    tidy: Vec<u8>,
    /// Name and value of the field that a folded line would continue.
    current: Option<(&'head [u8], Vec<u8>)>,
}

impl<'head> Fields<'head> {
    fn take(&mut self, line: &'head [u8]) -> Result<(), &'static str> {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return self.fold(line.trim_ascii());
        }
        self.finish_current();
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
        let (written, value) = (&line[..colon], line[colon..].strip_prefix(b":").unwrap_or_default());
        let name = written.trim_ascii_end();
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
            return drop_line(line);
        }
        if name.len() < written.len() && is_framing(name) {
            return Err("its Content-Length or Transfer-Encoding has a space before the colon");
        }
        if value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return drop_line(line);
        }
        self.current = Some((name, value.trim_ascii().to_vec()));
        Ok(())
    }

    fn fold(&mut self, rest: &[u8]) -> Result<(), &'static str> {
        match &mut self.current {
            Some((name, _)) if is_framing(name) => Err("its Content-Length or Transfer-Encoding is folded"),
            Some((_, value)) if !rest.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') => {
                value.push(b' ');
                value.extend_from_slice(rest);
                Ok(())
            }
            _ => drop_line(rest),
        }
    }

    fn finish_current(&mut self) {
        if let Some((name, value)) = self.current.take() {
            for piece in [name, b": ", value.as_slice(), b"\r\n"] {
                self.tidy.extend_from_slice(piece);
            }
        }
    }
}

/// Leaves a line out that is no header, unless somebody else might have read the framing from it.
fn drop_line(line: &[u8]) -> Result<(), &'static str> {
    let lower = line.to_ascii_lowercase();
    let names_framing = FRAMING.iter().any(|name| lower.windows(name.len()).any(|window| window == *name));
    if names_framing { Err("its Content-Length or Transfer-Encoding cannot be read") } else { Ok(()) }
}

fn is_framing(name: &[u8]) -> bool {
    FRAMING.iter().any(|framing| name.eq_ignore_ascii_case(framing))
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &str) -> Result<String, &'static str> {
        let head = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
        tidied(head.as_bytes()).map(|tidy| String::from_utf8_lossy(&tidy[17..]).into_owned())
    }

    #[test]
    fn folds_trims_and_leaves_out_what_is_no_header() {
        let lines = "A:\r\n  one;\r\n\ttwo\r\nB : x\r\nPHP Warning: no such file\r\n  of it\r\nnonsense\r\n: y\r\nC: a\x01b\r\nD: z\r\n";
        assert_eq!(fields(lines).unwrap(), "A:  one; two\r\nB: x\r\nD: z\r\n\r\n");
        assert_eq!(fields(" early\r\nA: b\n").unwrap(), "A: b\r\n\r\n");
    }

    #[test]
    fn refuses_whatever_might_be_the_length_of_the_body() {
        for lines in [
            "Content-Length : 5\r\n",
            "content-length: 1\r\n 0\r\n",
            "Transfer-Encoding\t: chunked\r\n",
            "Transfer-Encoding:\r\n chunked\r\n",
            "X Transfer-Encoding: chunked\r\n",
            "PHP Notice: Content-Length: 5\r\n",
            " Content-Length: 5\r\n",
            "A: b\rContent-Length: 5\r\n",
            "A: b\0\r\n",
        ] {
            assert!(fields(lines).is_err(), "{lines:?}");
        }
    }

    #[test]
    fn the_end_of_a_head_is_its_blank_line() {
        assert_eq!(end_of_head(b"\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\nbody\n\n"), Some(29 - 2));
        assert_eq!(end_of_head(b"HTTP/1.1 200 OK\nA: b\n\nbody"), Some(22));
        assert_eq!(end_of_head(b"HTTP/1.1 200 OK\r\nA: b\r\n"), None);
    }
}
