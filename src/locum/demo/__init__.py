"""The demo: real instances, real injuries, and an audit of what the bodies wrote."""
