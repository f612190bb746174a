//! Puts the module into the page: `page MODULE.wasm OUT.html`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [module, page] = &words[..] else {
        eprintln!("page MODULE.wasm OUT.html");
        return ExitCode::from(2);
    };
    let written = std::fs::read(module).map(|module| folkmoot_sim::simulator_page(&module));
    match written.and_then(|text| std::fs::write(page, text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{module} into {page}: {error}");
            ExitCode::FAILURE
        }
    }
}
