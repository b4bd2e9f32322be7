//! The command that `--gdb` prints, under a real gdb: it stops at the kernel's entry, and the project's commands for gdb say
//! of the areas what the kernel says. Left out where there is no gdb.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use boot::suites::host_program::leave_out;

/// The lines of areas.
fn areas(said: &str) -> Vec<&str> {
    said.lines().filter(|line| line.starts_with("0xffff") && line.contains(" pages=")).collect()
}

/// Seen failing: with the bits of the caller shifted by one less.
#[test]
fn gdb_says_of_areas_what_the_kernel_says() {
    if Command::new("gdb").arg("--version").stdout(Stdio::null()).status().is_err() {
        leave_out("there is no gdb");
        return;
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let commands = "vmalloc 5000; vmalloc 6000000; vmap 3; hold 3; vmallocinfo";
    let mut machine = Command::new(env!("CARGO_BIN_EXE_boot"))
        .args([
            "exec",
            commands,
            "--accel",
            "tcg",
            "--cpus",
            "2",
            "--timeout",
            "300",
            &format!("--gdb={port}"),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(machine.stderr.take().unwrap()).lines();
    let printed =
        lines.find_map(|line| line.unwrap().strip_prefix("boot: waiting for gdb: gdb ").map(str::to_owned));
    let more = [
        // Where the kernel ends; its command has been run.
        "hbreak exit",
        "continue",
        "backtrace 1",
        "vmallocinfo",
        "whatis 0xffffc90000001234",
        "whatis 0xffffc90000041007",
        "whatis 0xffffe8fffffff000",
        "whatis exit",
        "whatis 1.5",
        "detach",
    ];
    let more: String = more.iter().map(|command| format!(" -ex '{command}'")).collect();
    // The machine may not listen yet.
    let script = format!("gdb -nx -batch -ex 'set tcp connect-timeout 60' {}{more}", printed.unwrap());
    let gdb = Command::new("/bin/sh").args(["-c", &script]).stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&gdb.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&gdb.stderr);
    let mut said = String::new();
    machine.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(machine.wait().unwrap().success(), "{said}{told}{complaints}");
    assert!(told.contains("\nThread 1 hit Breakpoint 1, "), "{told}{complaints}");
    let (mut by_kernel, mut by_gdb) = (areas(&said), areas(&told));
    by_kernel.retain(|line| !line.ends_with(" lazy"));
    // The kernel adds how many are 2 MiB pages.
    by_kernel.iter_mut().for_each(|line| *line = line.split(" huge=").next().unwrap());
    // Those that gdb names in its answers to `whatis` come once more.
    by_gdb.truncate(by_kernel.len());
    assert!(by_kernel.len() > 15, "{said}");
    assert_eq!(by_kernel, by_gdb, "{told}{complaints}");
    for expected in [
        "0xffffc90000001234: 0x234 bytes into the area\n0xffffc90000001000-0xffffc90000042000",
        "\nread and write\n",
        "0xffffc90000041007: in the guard page, 0x7 bytes behind the area\n",
        "0xffffe8fffffff000: in the range of vmalloc, where nothing is\n",
        ": in the kernel's image\nkernel",
        "::drivers::power::exit in section .text\n",
        "type = f64\n",
    ] {
        assert!(told.contains(expected), "{expected}: {told}{complaints}");
    }
}
