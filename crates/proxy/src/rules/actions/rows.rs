//! Rows that several tables of actions have in common, and how a row is written.

/// A row: name, how it is written, what it does, what reads the words after it.
macro_rules! action {
    ($name:literal, $usage:literal, $doc:literal, $read:expr) => {
        action!($name, ANY, $usage, $doc, $read)
    };
    ($name:literal, $sections:expr, $usage:literal, $doc:literal, $read:expr) => {
        Keyword::works($name, $sections, $usage, $doc, |chosen, _| chosen.0 = Some($read))
    };
}

/// The rows of `track-sc0` and so on.
macro_rules! tracks {
    ($action:ident) => {
        [
            tracks!($action, "track-sc0"),
            tracks!($action, "track-sc1"),
            tracks!($action, "track-sc2"),
            tracks!($action, "track-sc3").since("2.8"),
            tracks!($action, "track-sc4").since("2.8"),
            tracks!($action, "track-sc5").since("2.8"),
            tracks!($action, "track-sc6").since("2.8"),
            tracks!($action, "track-sc7").since("2.8"),
            tracks!($action, "track-sc8").since("2.8"),
            tracks!($action, "track-sc9").since("2.8"),
        ]
    };
    ($action:ident, $name:literal) => {
        Keyword::<Chosen<$action>>::works(
            $name,
            ANY,
            concat!($name, " <sample> [table <table>]"),
            "counts what a key does in a stick table",
            |chosen, _| {
                chosen.0 = Some(|args, scope| Track::read(args, scope).map($action::Track));
            },
        )
    };
}

/// The rows that change the entry of a tracked key.
macro_rules! counters {
    ($action:ident) => {
        [
            counters!(
                $action,
                "sc-add-gpc(",
                "sc-add-gpc(<index>,<counter>) { <number> | <sample> }",
                "adds to a counter of the tracked key"
            )
            .since("2.8"),
            counters!(
                $action,
                "sc-inc-gpc(",
                "sc-inc-gpc(<index>,<counter>)",
                "counts an event of the tracked key"
            ),
            counters!(
                $action,
                "sc-inc-gpc0",
                "sc-inc-gpc0[(<counter>)]",
                "counts an event of the tracked key"
            ),
            counters!(
                $action,
                "sc-inc-gpc0(",
                "sc-inc-gpc0(<counter>)",
                "counts an event of the tracked key"
            ),
            counters!(
                $action,
                "sc-inc-gpc1",
                "sc-inc-gpc1[(<counter>)]",
                "counts an event of the tracked key"
            ),
            counters!(
                $action,
                "sc-inc-gpc1(",
                "sc-inc-gpc1(<counter>)",
                "counts an event of the tracked key"
            ),
            counters!(
                $action,
                "sc-set-gpt(",
                "sc-set-gpt(<index>,<counter>) { <number> | <sample> }",
                "sets a tag of the tracked key"
            ),
            counters!(
                $action,
                "sc-set-gpt0",
                "sc-set-gpt0[(<counter>)] { <number> | <sample> }",
                "sets the tag of the tracked key"
            ),
            counters!(
                $action,
                "sc-set-gpt0(",
                "sc-set-gpt0(<counter>) { <number> | <sample> }",
                "sets the tag of the tracked key"
            ),
        ]
    };
    ($action:ident, $name:literal, $usage:literal, $doc:literal) => {
        Keyword::<Chosen<$action>>::works($name, ANY, $usage, $doc, |chosen, _| {
            chosen.0 = Some(|args, scope| CounterEdit::read(args, scope).map($action::Counter));
        })
    };
}
