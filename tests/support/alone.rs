//! Tests that measure the process they are in.

use std::process::Command;

/// Moves a test into a process of its own: `alone!(name_of_the_test);` is its first line.
#[macro_export]
macro_rules! alone {
    ($test:ident) => {
        if !$crate::support::alone::is_alone(concat!(module_path!(), "::", stringify!($test))) {
            return;
        }
    };
}

/// Set in a process that is there for one test.
const VARIABLE: &str = "ALONE";

/// Returns true in a process that is there for this test; elsewhere starts one, and fails unless the
/// test passes there.
pub fn is_alone(path: &str) -> bool {
    if std::env::var_os(VARIABLE).is_some() {
        return true;
    }
    let (_, test) = path.split_once("::").expect("the path of a test");
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program)
        .args(["--exact", test, "--nocapture"])
        .env(VARIABLE, "1")
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{test} fails");
    assert!(said.contains("1 passed"), "no test is called {test}");
    false
}
