//! Seeded mutation of byte strings: what a fuzzer does between two looks at coverage.

/// A deterministic source of mutated inputs.
pub struct Mutator {
    state: u64,
    corpus: Vec<Vec<u8>>,
    words: &'static [&'static str],
}

/// Values at which integer code breaks.
const NUMBERS: [&str; 14] = [
    "0",
    "1",
    "-1",
    "255",
    "65535",
    "65536",
    "2147483647",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999",
    "1e309",
];

/// Longest input; longer ones find little and cost much.
const LONGEST: usize = 16 * 1024;

impl Mutator {
    /// `words` are tokens of the format, inserted whole.
    pub fn new(seed: u64, corpus: Vec<Vec<u8>>, words: &'static [&'static str]) -> Self {
        assert!(!corpus.is_empty(), "a fuzz target needs a corpus");
        Self { state: seed, corpus, words }
    }

    /// The next input: one of the corpus after one to eight changes.
    pub fn next(&mut self) -> Vec<u8> {
        let mut input = self.pick_seed();
        for _ in 0..=self.below(7) {
            self.change(&mut input);
        }
        input.truncate(LONGEST);
        input
    }

    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.random() % limit.max(1) as u64) as usize
    }

    fn pick_seed(&mut self) -> Vec<u8> {
        let at = self.below(self.corpus.len());
        self.corpus[at].clone()
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        let span = at..(at + 1 + self.below(24)).min(input.len()).max(at);
        match self.below(9) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = self.random() as u8,
            2 => drop(input.drain(span)),
            3 => {
                let copy: Vec<u8> = input[span].to_vec();
                for _ in 0..=self.below(3) {
                    input.splice(at..at, copy.iter().copied());
                }
            }
            4 => {
                let word = self.words[self.below(self.words.len())];
                input.splice(at..at, word.bytes());
            }
            5 => self.replace_number(input, at),
            6 => {
                let other = self.pick_seed();
                let from = self.below(other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            7 => input.truncate(at),
            _ => {
                let byte = self.random() as u8;
                input.insert(at, byte);
            }
        }
    }

    /// Replaces the first run of digits from `at` on.
    fn replace_number(&mut self, input: &mut Vec<u8>, at: usize) {
        let Some(start) = input[at..].iter().position(u8::is_ascii_digit).map(|found| at + found) else { return };
        let length = input[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = NUMBERS[self.below(NUMBERS.len())];
        input.splice(start..start + length, number.bytes());
    }
}
