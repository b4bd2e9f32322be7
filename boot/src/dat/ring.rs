//! The ring buffer of a CPU, as Linux has it: pages that begin with a time and how much is in them, and records that begin with
//! the time since the one before.

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// Bytes of the time and the length at a page's beginning.
const HEAD: usize = 16;

/// Bytes for records: behind them there is room for how many were lost.
const ROOM: usize = PAGE - HEAD - 8;

/// Bytes of a record, at the most: its type and its length stand before it.
pub const MOST: usize = ROOM - 8;

/// What Linux's file `events/header_page` says of that.
pub const HEADER_PAGE: &str = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
    \tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n\
    \tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n\
    \tfield: char data;\toffset:16;\tsize:4080;\tsigned:1;\n";

/// And its file `events/header_event`.
pub const HEADER_EVENT: &str = "# compressed entry header\n\
    \ttype_len    :    5 bits\n\
    \ttime_delta  :   27 bits\n\
    \tarray       :   32 bits\n\
    \n\
    \tpadding     : type == 29\n\
    \ttime_extend : type == 30\n\
    \ttime_stamp : type == 31\n\
    \tdata max type_len  == 28\n";

/// A record's type and time are one word: five bits, and 27 above them.
const TIME_BITS: u32 = 27;
const TYPE_BITS: u32 = 32 - TIME_BITS;
/// The type of a word that only goes on in time, with the upper bits of the time in the word behind it.
const TIME_EXTEND: u32 = 30;
/// The largest type that tells a length, in words.
const MOST_WORDS: u32 = 28;
/// Of a page's length: records were lost before those of the page, and how many stands behind them.
const LOST: u64 = 1 << 31 | 1 << 30;

/// The pages of a CPU.
#[derive(Debug, Default)]
pub struct Ring {
    pages: Vec<u8>,
    /// Bytes of records in the last page.
    used: usize,
    /// When the last record was made.
    time: u64,
    /// Records that were lost since.
    lost: u64,
    /// Records that were lost before those of the last page.
    lost_before_page: u64,
}

impl Ring {
    /// When the last record was made; 0 if there is none.
    pub fn time(&self) -> u64 {
        self.time
    }

    /// Notes that records were lost.
    pub fn lose(&mut self, records: u64) {
        self.lost = self.lost.saturating_add(records);
    }

    /// Appends a record of at most [`MOST`] bytes, made no earlier than the one before.
    pub fn push(&mut self, time: u64, record: &[u8]) {
        let words = record.len().div_ceil(4) as u32;
        let delta = time - self.time;
        let is_far = delta >> TIME_BITS != 0;
        let length = 4 + 4 * usize::from(words > MOST_WORDS) + 4 * words as usize;
        let fits = self.used + length + 8 * usize::from(is_far) <= ROOM;
        if self.pages.is_empty() || self.lost > 0 || !fits || delta >> (TIME_BITS + u32::BITS) != 0 {
            self.begin_page(time);
            self.header(words, 0);
        } else {
            if is_far {
                self.word(TIME_EXTEND | (delta as u32) << TYPE_BITS);
                self.word((delta >> TIME_BITS) as u32);
            }
            self.header(words, if is_far { 0 } else { delta as u32 });
        }
        self.bytes(record);
        self.bytes(&[0; 3][..4 * words as usize - record.len()]);
        self.time = time;
    }

    /// Returns all pages, the last one filled up.
    pub fn finish(mut self) -> Vec<u8> {
        self.end_page();
        self.pages
    }

    /// How long a record is, and how long after the one before it was made.
    fn header(&mut self, words: u32, delta: u32) {
        if words > MOST_WORDS {
            self.word(delta << TYPE_BITS);
            // The length counts itself.
            self.word(4 + 4 * words);
        } else {
            self.word(words | delta << TYPE_BITS);
        }
    }

    fn begin_page(&mut self, time: u64) {
        self.end_page();
        self.pages.extend_from_slice(&time.to_le_bytes());
        self.pages.extend_from_slice(&[0; 8]);
        self.used = 0;
        self.lost_before_page = std::mem::take(&mut self.lost);
    }

    fn end_page(&mut self) {
        if self.pages.is_empty() {
            return;
        }
        let lost = if self.lost_before_page > 0 { LOST } else { 0 };
        let length = (self.used as u64 | lost).to_le_bytes();
        let start = self.pages.len() - self.used - HEAD;
        self.pages[start + 8..][..8].copy_from_slice(&length);
        self.bytes(&self.lost_before_page.to_le_bytes());
        self.pages.resize(start + PAGE, 0);
    }

    fn word(&mut self, word: u32) {
        self.bytes(&word.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.pages.extend_from_slice(bytes);
        self.used += bytes.len();
    }
}
