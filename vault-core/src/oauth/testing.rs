//! A scripted network and a clock that stands still.
