// Command zegoclose closes ZEGO live rooms from Slack. See README.md; the program itself is
// package internal/app.
package main

import (
	"context"
	"os"

	"zegoclose/internal/app"
)

func main() {
	os.Exit(app.Run(context.Background(), os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
