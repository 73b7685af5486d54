//! What is wrong with a file of guard rails.

use super::*;

/// An entry, and the codes of what is said.
const RAILS: &str = r"
[[deny]] ¶ name = 'd' ¶ issuer = 'github' =>
[[deny]] ¶ name = 'd' ¶ claims = { actor = 'x' } ¶ mode = 'shadow' =>
[[deny]] ¶ name = 'd' => deny-everybody
[[require]] ¶ issuer = 'github' ¶ pin = ['owner-id'] =>
[[require]] ¶ issuer = 'github' ¶ pin = ['owner-id', 'environment'] ¶ name = 'r' =>
[[require]] ¶ scopes-at-most = ['a', 'b'] ¶ lifetime-at-most = '30m' =>
[[require]] ¶ lifetime-at-most = '30m' ¶ silence = [{ code = 'a', because = 'b' }] =>
[[require]] ¶ issuer = 'semaphore' ¶ pin = ['sub', 'org'] =>
[[require]] => require-empty
[[require]] ¶ issuer = 'github' => require-empty
[[require]] ¶ issuer = 'githb' ¶ pin = ['owner-id'] => issuer-unknown
[[require]] ¶ pin = ['owner-id'] => pin-needs-issuer
[[require]] ¶ issuer = 'github' ¶ pin = ['owner_id'] => pin-unknown
[[require]] ¶ issuer = 'gitlab' ¶ pin = ['owner-id'] => pin-unknown
[[require]] ¶ issuer = 'semaphore' ¶ pin = ['repo'] => pin-unknown
[[require]] ¶ issuer = 'github' ¶ pin = 'owner-id' => wrong-type
[[require]] ¶ issuer = 'github' ¶ pin = [] => list-empty
[[require]] ¶ scopes-at-most = [] => list-empty
[[require]] ¶ scopes-at-most = ['a', 'a'] => scope-twice
[[require]] ¶ scopes-at-most = ['a b'] => scope-invalid
[[require]] ¶ lifetime-at-most = '30' => lifetime-invalid
[[require]] ¶ lifetime-at-most = 30 => wrong-type
[[require]] ¶ lifetime_at_most = '30m' => unknown-key
[[require]] ¶ lifetime-at-most = '30m' ¶ name = '' => name-invalid
[[require]] ¶ lifetime-at-most = '30m' ¶ mode = 'shadow' => unknown-key
[[trust]] ¶ name = 'r' => unknown-key
[[requires]] ¶ pin = [] => unknown-key
pin = [] => unknown-key
";

fn rails(text: &str) -> Result<GuardRails, PolicyFault> {
    read_guard_rails("acme", "acme/_organization.toml", text, &registry())
}

#[test]
fn each_slip_in_guard_rails_has_its_code() {
    for (text, expected) in rows(RAILS) {
        let said = match rails(&text) {
            Ok(_) => String::new(),
            Err(fault) => {
                let codes: Vec<&str> = fault.problems().iter().map(Problem::code).collect();
                codes.join(" ")
            }
        };
        assert_eq!(said, expected, "{text}");
    }
}

#[test]
fn slips_in_guard_rails_are_shown_with_their_mends() {
    let fault = rails(
        "[[trust]]\nname = \"r\"\n\n[[require]]\nissuer = \"github\"\npin = [\"owner_id\"]\n\n[[require]]\nname = \"x\"\nscopes-at-most = [\"a\"]\n\n[[require]]\nname = \"x\"\nlifetime-at-most = \"1h\"\n",
    );
    insta::assert_snapshot!(fault.unwrap_err().render(false), @r#"
    error[unknown-key]: `trust` is no key of a file of guard rails
     --> acme/_organization.toml:1:3
      |
    1 | [[trust]]
      |   ^^^^^ unknown here
      |
      = help: `[[trust]]` stands in the file of a project, beside this one

    error[pin-unknown]: `owner_id` is no identity field of GitHub Actions
     --> acme/_organization.toml:6:8
      |
    6 | pin = ["owner_id"]
      |        ^^^^^^^^^^ unknown identity field
      |
      = help: did you mean `owner-id`?

    error[name-taken]: two entries are called `x`
      --> acme/_organization.toml:13:8
       |
     9 | name = "x"
       |        --- the first one
    ...
    13 | name = "x"
       |        ^^^ the name must be unique in the file
    "#);
}
