//! XML as a small tree, within bounds and without entities.

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};

use crate::fragments::bounds::{PlaylistLimits, check};
use crate::fragments::refusal::PlaylistError;

/// Of one element; real manifests have up to twenty.
const MOST_ATTRIBUTES: u64 = 256;

/// One element; namespaces are dropped, which MPEG-DASH manifests never need to tell names apart.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) name: String,
    attributes: Vec<(String, String)>,
    pub(super) children: Vec<Element>,
    pub(super) text: String,
}

impl Element {
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// Leaves out every element below this one that `is_gone`.
    pub(super) fn prune(&mut self, is_gone: &impl Fn(&Element) -> bool) {
        self.children.retain(|child| !is_gone(child));
        self.children.iter_mut().for_each(|child| child.prune(is_gone));
    }

    pub(super) fn children_named<'tree>(&'tree self, name: &'tree str) -> impl Iterator<Item = &'tree Element> {
        self.children.iter().filter(move |child| child.name == name)
    }
}

/// Reads a document into its root element.
///
/// A document type declaration is refused outright: it is where entity bombs and external entities
/// live, and no manifest needs one.
pub(super) fn parse(text: &str, limits: &PlaylistLimits) -> Result<Element, PlaylistError> {
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut open: Vec<Element> = vec![Element::default()];
    let mut elements = 0;
    loop {
        let position = reader.buffer_position();
        let malformed = |problem: &str| PlaylistError::at_element(format!("byte {position}"), problem);
        let event = reader.read_event().map_err(|error| malformed(&error.to_string()))?;
        if let Event::Start(_) | Event::Empty(_) = event {
            elements += 1;
            check("XML elements", elements, limits.xml_elements)?;
            check("nested XML elements", open.len() as u64, limits.xml_depth)?;
        }
        match event {
            Event::Start(start) => open.push(element(&start, &malformed)?),
            Event::Empty(start) => append(&mut open, element(&start, &malformed)?),
            Event::End(_) => {
                let finished = open.pop().ok_or_else(|| malformed("an element ends that never began"))?;
                append(&mut open, finished);
            }
            Event::Text(text) => append_text(&mut open, &text),
            Event::CData(text) => append_text(&mut open, &text),
            Event::GeneralRef(reference) => {
                let character = match reference.resolve_char_ref() {
                    Ok(Some(character)) => character,
                    _ => predefined(&reference)
                        .ok_or_else(|| malformed("it uses an entity other than the five of XML"))?,
                };
                append_text(&mut open, character.encode_utf8(&mut [0; 4]));
            }
            Event::DocType(_) => return Err(malformed("it has a document type declaration, which is refused")),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    match (open.pop(), open.is_empty()) {
        (Some(mut document), true) if document.children.len() == 1 => Ok(document.children.remove(0)),
        _ => Err(PlaylistError::at_element("the end", "the document is cut off or has no single root")),
    }
}

fn element(start: &BytesStart<'_>, malformed: &dyn Fn(&str) -> PlaylistError) -> Result<Element, PlaylistError> {
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| malformed(&error.to_string()))?;
        let value = attribute
            .normalized_value(XmlVersion::default())
            .map_err(|error| malformed(&format!("an attribute cannot be read: {error}")))?;
        // The parser compares each name with all before it.
        check("attributes of one element", attributes.len() as u64 + 1, MOST_ATTRIBUTES)?;
        attributes.push((attribute.key.local_name().as_ref().to_owned(), value.into_owned()));
    }
    Ok(Element { name: start.local_name().as_ref().to_owned(), attributes, ..Element::default() })
}

fn append(open: &mut [Element], element: Element) {
    if let Some(parent) = open.last_mut() {
        parent.children.push(element);
    }
}

fn append_text(open: &mut [Element], text: &str) {
    if let Some(parent) = open.last_mut() {
        parent.text.push_str(text);
    }
}

fn predefined(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => None,
    }
}
