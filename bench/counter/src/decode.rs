//! Which instructions are counted, told by their bytes.

use crate::counts::Kind;

/// What an instruction is to the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is of a kind that is counted.
    Counted(Kind),
    /// It is the mark.
    Mark,
}

/// The prefix that locks.
const LOCK: u8 = 0xf0;
/// The prefix that makes `nop` a `pause`.
const REPEAT: u8 = 0xf3;

/// What the bytes of one instruction of 64-bit code are, if it is one of those looked for.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Found> {
    let opcode = bytes.iter().position(|byte| !is_prefix(*byte))?;
    let (prefixes, rest) = bytes.split_at(opcode);
    if prefixes.contains(&LOCK) {
        return Some(Found::Counted(Kind::Locked));
    }
    let kind = match *rest {
        // xchg; with memory it locks without the prefix.
        [0x86 | 0x87, modrm, ..] if is_memory(modrm) => Kind::Locked,
        [0x90, ..] if prefixes.contains(&REPEAT) => Kind::Pauses,
        [0xcf, ..] => Kind::Interrupts,
        [0x0f, 0x01, modrm, ..] if is_memory(modrm) && register(modrm) == 7 => Kind::Invlpg,
        // REX.R would make it another control register.
        [0x0f, 0x22, modrm, ..] if !prefixes.last().is_some_and(|prefix| prefix & 0xf4 == 0x44) => {
            match register(modrm) {
                3 => Kind::Cr3,
                4 => Kind::Cr4,
                _ => return None,
            }
        }
        [0x0f, 0x1f, 0x80, a, b, c, d] if i32::from_le_bytes([a, b, c, d]) == protocol::MARK => {
            return Some(Found::Mark);
        }
        _ => return None,
    };
    Some(Found::Counted(kind))
}

/// Whether the byte stands before the opcode: of the legacy prefixes one, or REX.
fn is_prefix(byte: u8) -> bool {
    matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f | 0x64..=0x67 | LOCK | 0xf2 | 0xf3)
}

/// Whether the operand of this ModRM byte is memory.
fn is_memory(modrm: u8) -> bool {
    modrm >> 6 != 3
}

/// The middle field of a ModRM byte.
fn register(modrm: u8) -> u8 {
    modrm >> 3 & 7
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(bytes: &[u8]) -> Option<Kind> {
        match decode(bytes) {
            Some(Found::Counted(kind)) => Some(kind),
            Some(Found::Mark) => panic!("a mark"),
            None => None,
        }
    }

    /// Seen failing with no look at prefixes behind the first.
    #[test]
    fn the_prefix_locks_wherever_it_stands() {
        // lock cmpxchg [rdi], rsi; lock inc dword gs:[rax]; lock cmpxchg16b [rsi] with the prefix second.
        for bytes in [
            &[0xf0, 0x48, 0x0f, 0xb1, 0x37][..],
            &[0x65, 0xf0, 0xff, 0x00],
            &[0x66, 0xf0, 0x48, 0x0f, 0xc7, 0x0e],
        ] {
            assert_eq!(kind(bytes), Some(Kind::Locked), "{bytes:x?}");
        }
        // The byte is no prefix behind the opcode: mov al, 0xf0.
        assert_eq!(kind(&[0xb0, 0xf0]), None);
    }

    /// Seen failing with every `xchg` counted.
    #[test]
    fn xchg_locks_with_memory_only() {
        assert_eq!(kind(&[0x87, 0x07]), Some(Kind::Locked), "xchg [rdi], eax");
        assert_eq!(kind(&[0x86, 0x47, 0x08]), Some(Kind::Locked), "xchg [rdi + 8], al");
        assert_eq!(kind(&[0x4c, 0x87, 0x3c, 0x24]), Some(Kind::Locked), "xchg [rsp], r15");
        assert_eq!(kind(&[0x48, 0x87, 0xc3]), None, "xchg rbx, rax");
        assert_eq!(kind(&[0x48, 0x93]), None, "xchg rbx, rax, the short one");
        assert_eq!(kind(&[0x48, 0x0f, 0xb1, 0x37]), None, "cmpxchg without the prefix");
    }

    /// Seen failing with the operand's kind not looked at.
    #[test]
    fn invlpg_is_told_from_its_neighbours() {
        assert_eq!(kind(&[0x0f, 0x01, 0x38]), Some(Kind::Invlpg), "invlpg [rax]");
        assert_eq!(kind(&[0x41, 0x0f, 0x01, 0x7d, 0x10]), Some(Kind::Invlpg), "invlpg [r13 + 16]");
        assert_eq!(kind(&[0x0f, 0x01, 0xf8]), None, "swapgs");
        assert_eq!(kind(&[0x0f, 0x01, 0x10]), None, "lgdt [rax]");
    }

    /// Seen failing with REX.R not looked at.
    #[test]
    fn writes_of_control_registers_are_told_apart() {
        assert_eq!(kind(&[0x0f, 0x22, 0xd8]), Some(Kind::Cr3), "mov cr3, rax");
        assert_eq!(kind(&[0x41, 0x0f, 0x22, 0xdf]), Some(Kind::Cr3), "mov cr3, r15");
        assert_eq!(kind(&[0x0f, 0x22, 0xe1]), Some(Kind::Cr4), "mov cr4, rcx");
        assert_eq!(kind(&[0x0f, 0x22, 0xc0]), None, "mov cr0, rax");
        assert_eq!(kind(&[0x44, 0x0f, 0x22, 0xc0]), None, "mov cr8, rax");
        assert_eq!(kind(&[0x44, 0x0f, 0x22, 0xd8]), None, "mov cr11, rax, which there is not");
        assert_eq!(kind(&[0x0f, 0x20, 0xd8]), None, "mov rax, cr3");
    }

    /// Seen failing with every `nop` counted.
    #[test]
    fn pauses_are_no_plain_nops() {
        assert_eq!(kind(&[0xf3, 0x90]), Some(Kind::Pauses), "pause");
        assert_eq!(kind(&[0x90]), None, "nop");
        assert_eq!(kind(&[0x66, 0x90]), None, "the nop of two bytes");
    }

    #[test]
    fn returns_from_interrupts_are_found() {
        assert_eq!(kind(&[0x48, 0xcf]), Some(Kind::Interrupts), "iretq");
        assert_eq!(kind(&[0xc3]), None, "ret");
    }

    /// Seen failing with the displacement not looked at.
    #[test]
    fn the_mark_is_no_other_nop() {
        let mut mark = [0x0f, 0x1f, 0x80, 0, 0, 0, 0];
        assert_eq!(decode(&mark), None);
        mark[3..].copy_from_slice(&protocol::MARK.to_le_bytes());
        assert_eq!(decode(&mark), Some(Found::Mark));
    }

    #[test]
    fn bytes_that_are_no_whole_instruction_are_nothing() {
        for bytes in [&[][..], &[0x48], &[0x0f], &[0x0f, 0x01], &[0x0f, 0x22], &[0x87], &[0x66; 15]] {
            assert_eq!(decode(bytes), None, "{bytes:x?}");
        }
    }
}
