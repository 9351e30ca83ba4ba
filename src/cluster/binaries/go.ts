/** Prints the Go command that can build what go.mod of this repository's own Go programs asks for: `go.ts NAME`. */
import { goCommand } from "./gobuild.ts";

process.stdout.write(`${await goCommand(process.argv[2] ?? "a program")}\n`);
