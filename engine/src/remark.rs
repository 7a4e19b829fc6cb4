//! What a finished download has to say about itself although nothing went wrong.

/// A fact that whoever relies on the file may want to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Remark {
    /// Only the end of a TLS connection ended the body, and the peer did not announce it: a cut would look the same.
    EndUnannounced,
    /// The body came compressed and was unpacked, so that size and digest are of what it stands for.
    Unpacked,
}

const ALL: [Remark; 2] = [Remark::EndUnannounced, Remark::Unpacked];

impl Remark {
    /// The word of the stub file.
    pub fn name(self) -> &'static str {
        match self {
            Self::EndUnannounced => "end_unannounced",
            Self::Unpacked => "unpacked",
        }
    }

    /// Its bit in a set of remarks.
    pub(crate) fn bit(self) -> u8 {
        1 << self as u8
    }

    /// The remarks of such a set.
    pub(crate) fn of_bits(bits: u8) -> Vec<Self> {
        ALL.into_iter().filter(|remark| bits & remark.bit() != 0).collect()
    }
}
