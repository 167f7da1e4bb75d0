package app

import "log/slog"

// Secret is a text that prints as *** however it is printed. Converting it to a string is
// the one way to its value.
type Secret string

func (Secret) String() string               { return "***" }
func (Secret) GoString() string             { return "***" }
func (Secret) LogValue() slog.Value         { return slog.StringValue("***") }
func (Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }
