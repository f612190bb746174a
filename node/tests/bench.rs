//! `folkmoot bench` between processes of this machine.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

fn folkmoot() -> Command {
    Command::new(env!("CARGO_BIN_EXE_folkmoot"))
}

fn bench(words: &str) -> Output {
    folkmoot()
        .arg("bench")
        .args(words.split_whitespace())
        .output()
        .expect("the program runs")
}

/// `count` ports in a row that were free a moment ago; the first.
fn free_ports(count: u16) -> u16 {
    for _ in 0..100 {
        let first = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = first.local_addr().expect("it is bound").port();
        let rest: Vec<_> = (1..count)
            .map_while(|number| TcpListener::bind(("127.0.0.1", port.checked_add(number)?)).ok())
            .collect();
        if rest.len() + 1 == usize::from(count) {
            return port;
        }
    }
    panic!("no {count} free ports in a row");
}

/// The rows of the table as cells.
fn rows(said: &str) -> Vec<Vec<String>> {
    said.lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| driver"))
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

fn figure(cell: &str) -> f64 {
    cell.parse()
        .unwrap_or_else(|_| panic!("`{cell}` is no number"))
}

#[test]
fn every_combination_is_a_row_with_figures_and_something_is_suggested() {
    let drivers = match folkmoot_uring::support() {
        Ok(_) => "mio,io_uring",
        Err(_) => "mio",
    };
    let port = free_ports(3);
    let output = bench(&format!(
        "--listen 127.0.0.1:{port} --local 2 --drivers {drivers} --messages 300 --spin 20 \
         --send-options 0,2,6,8 --sizes 64,70000 --callers 1,3,40"
    ));
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    let rows = rows(&said);
    // Without a spin all combinations, with it those that wait.
    let drivers = drivers.split(',').count();
    assert_eq!(rows.len(), drivers * (4 * 2 * 3 + 2 * 2 * 3), "{said}");
    for row in &rows {
        let [
            _,
            options,
            _,
            _,
            _,
            rate,
            p50,
            p99,
            p999,
            cpu,
            here,
            there,
            full,
        ] = &row[..]
        else {
            panic!("{row:?}");
        };
        for cell in [rate, here, there] {
            assert!(figure(cell) > 0.0, "{row:?}");
        }
        // The clock of CPU time goes in steps of 10 ms.
        assert!(figure(cpu) >= 0.0 && figure(full) >= 0.0, "{row:?}");
        match options.as_str() {
            "2" | "6" => {
                let latencies = [p50, p99, p999].map(|cell| figure(cell));
                assert!(latencies[0] > 0.0 && latencies.is_sorted(), "{row:?}");
            }
            _ => assert_eq!([p50, p99, p999], ["", "", ""], "{row:?}"),
        }
    }
    assert!(said.lines().any(|line| line.starts_with("- ")), "{said}");
}

#[test]
fn two_programs_measure_as_two_hosts_would() {
    let port = free_ports(2);
    let (here, there) = (
        format!("127.0.0.1:{port}"),
        format!("127.0.0.1:{}", port + 1),
    );
    let mut serving = folkmoot()
        .args(["bench", "--serve", "--listen", &there, "--member", &here])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut line = String::new();
    BufReader::new(serving.stdout.take().expect("piped"))
        .read_line(&mut line)
        .expect("it speaks");
    assert!(line.starts_with(&format!("counting on {there}")), "{line}");
    // Twice: whoever serves goes on serving.
    for _ in 0..2 {
        let output = bench(&format!(
            "--listen {here} --member {there} --messages 100 --spin 0 --callers 2 --sizes 100"
        ));
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{errors}");
        assert_eq!(rows(&said).len(), 2, "{said}");
    }
    drop(serving.stdin.take());
    assert!(serving.wait().expect("it ends").success());
}

#[test]
fn what_is_wrong_is_said_with_what_would_be_right() {
    let port = free_ports(1);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().expect("it is bound");
    #[rustfmt::skip]
    let cases = [
        ("--send-options 5".to_owned(),   "--send-options takes 0, 2, 6 and 8, not 5".to_owned()),
        ("--serve".to_owned(),            "--serve wants --member".to_owned()),
        ("--drivers epoll".to_owned(),    "say auto, mio or io_uring".to_owned()),
        (format!("--listen {taken} --member 127.0.0.1:9"),  taken.port().to_string()),
        (format!("--listen 127.0.0.1:{port} --member 127.0.0.1:9 --wait 0"),
                                          "0 of 1 members answered within 0 s: start `folkmoot bench --serve".to_owned()),
    ];
    for (words, wanted) in cases {
        let output = bench(&words);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{words}");
        assert!(errors.contains(&wanted), "{words}: {errors}");
    }
}
