//! The codes of everything that can be wrong with a document.

macro_rules! codes {
    ($($(#[$about:meta])* $name:ident = $code:literal;)*) => {
        $($(#[$about])* pub(super) const $name: &str = $code;)*

        /// The code of everything that can be wrong with a document, each once. They are stable.
        pub const ERROR_CODES: &[&str] = &[$($code,)*];
    };
}

codes! {
    /// An alias names no anchor, or stands inside what it names.
    ALIAS = "E_POLICY_ALIAS";
    /// A budget is no number that it can be.
    BUDGET = "E_POLICY_BUDGET";
    /// Two keys say what only one can.
    CONFLICT = "E_POLICY_CONFLICT";
    /// A control character stands in a document.
    CONTROL = "E_POLICY_CONTROL";
    /// A file has a second document.
    DOCUMENTS = "E_POLICY_DOCUMENTS";
    /// A key stands twice.
    DUPLICATE_KEY = "E_POLICY_DUPLICATE_KEY";
    /// A text is no duration.
    DURATION = "E_POLICY_DURATION";
    /// There is no such effect.
    EFFECT = "E_POLICY_EFFECT";
    /// A document is empty.
    EMPTY = "E_POLICY_EMPTY";
    /// A list that must name something names nothing.
    EMPTY_LIST = "E_POLICY_EMPTY_LIST";
    /// A document is not UTF-8.
    ENCODING = "E_POLICY_ENCODING";
    /// A text is no variable of the environment.
    ENV = "E_POLICY_ENV";
    /// A text is no rule over programs.
    EXEC = "E_POLICY_EXEC";
    /// The policy that a manifest names cannot be read.
    FILE = "E_POLICY_FILE";
    /// A text names nothing that can be included.
    INCLUDE = "E_POLICY_INCLUDE";
    /// A text is no name of a label.
    LABEL = "E_POLICY_LABEL";
    /// A manifest stands where a policy is expected.
    MANIFEST = "E_POLICY_MANIFEST";
    /// A YAML merge key is used.
    MERGE_KEY = "E_POLICY_MERGE_KEY";
    /// A key is missing.
    MISSING_KEY = "E_POLICY_MISSING_KEY";
    /// A text is no name for a policy.
    NAME = "E_POLICY_NAME";
    /// A text is no pattern over names of tools, models or types.
    NAMED = "E_POLICY_NAMED";
    /// A text is no rule over the network.
    NET = "E_POLICY_NET";
    /// A number is not one that it can be.
    NUMBER = "E_POLICY_NUMBER";
    /// A text is no rule over paths.
    PATH = "E_POLICY_PATH";
    /// A text is no name of a role.
    ROLE = "E_POLICY_ROLE";
    /// A text is no size, or no share.
    SIZE = "E_POLICY_SIZE";
    /// A document cannot be read in its format.
    SYNTAX = "E_POLICY_SYNTAX";
    /// A tab indents a line of YAML.
    TAB = "E_POLICY_TAB";
    /// A YAML tag is used.
    TAG = "E_POLICY_TAG";
    /// Effects have no target that a pattern could name.
    TARGET = "E_POLICY_TARGET";
    /// A document nests too deep.
    TOO_DEEP = "E_POLICY_TOO_DEEP";
    /// A document or a list in it is too large.
    TOO_LARGE = "E_POLICY_TOO_LARGE";
    /// Something else is expected: a string, a list, a mapping.
    TYPE = "E_POLICY_TYPE";
    /// There is no such key.
    UNKNOWN_KEY = "E_POLICY_UNKNOWN_KEY";
    /// A word is not one of those that may stand there.
    VALUE = "E_POLICY_VALUE";
    /// The version is missing or not supported.
    VERSION = "E_POLICY_VERSION";
}
