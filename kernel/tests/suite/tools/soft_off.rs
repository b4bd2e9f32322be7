//! How the machine is switched off, as its firmware writes it down.

use kernel::drivers::soft_off::sleep_types;

/// Seen failing: with a length of one byte always, and with names of anything taken for it.
#[test_case]
fn the_sleep_types_of_s5_are_found_in_aml() {
    for (aml, types) in [
        // QEMU: Name (_S5, Package (0x04) {Zero, Zero, Zero, Zero}), between other names.
        (&b"\x08_S4_\x12\x08\x04\x0a\x02\x0a\x02\0\0\x08_S5_\x12\x06\x04\0\0\0\0\x10\x44"[..], Some([0, 0])),
        // Hardware: Name (\_S5, Package (0x04) {0x07, One, ...}), with a length of two bytes.
        (b"\x08\\_S5_\x12\x47\x00\x04\x0a\x07\x01\0\0", Some([7, 1])),
        // A reference to the name, before its definition.
        (b"\x86_S5_\x00\x08_S5_\x12\x08\x04\x0a\x05\x0a\x05\0\0", Some([5, 5])),
        // A method, a package of names, types that the register has no bits for, ends too early.
        (b"\x14\x08_S5_\x00\xa4\x00", None),
        (b"\x08_S5_\x12\x0a\x04ABCDEFGH", None),
        (b"\x08_S5_\x12\x08\x04\x0a\x08\x0a\x05\0\0", None),
        (b"\x5b_S5_\x12\x06\x04\0\0\0\0", None),
        (b"\x08_S5_\x12\xc6", None),
        (b"\x08_S5_\x12\x06\x04\x0a", None),
        (b"\x08_S5_", None),
        (b"", None),
    ] {
        assert_eq!(sleep_types(aml), types, "{aml:x?}");
    }
}
