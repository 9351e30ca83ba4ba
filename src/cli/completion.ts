/**
 * `cilium completion`: what a shell completes after `cilium`, written from the commands themselves, so that it cannot differ from
 * them. Each script walks the words that were typed to find the command they name, then offers its commands, options and values.
 */
import type { Command, Option } from "commander";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

/** What comes after an option, or as an argument: one of some words, a file, or something that only the user knows. */
type Value = readonly string[] | "file" | "free";

interface OptionNode {
  /** `-o`, `--output`. */
  readonly names: readonly string[];
  readonly description: string;
  /** undefined: a switch. */
  readonly value: Value | undefined;
}

export interface CommandNode {
  /** As typed, such as `cilium policy validate`. */
  readonly path: string;
  readonly name: string;
  readonly description: string;
  readonly commands: readonly CommandNode[];
  /** With those of the commands above, which may be given here too. */
  readonly options: readonly OptionNode[];
  readonly argument: Value | undefined;
}

const HELP: OptionNode = { names: ["-h", "--help"], description: "what this command does and takes", value: undefined };

/** Hidden commands and options are left out. */
export function commandTree(command: Command, above = "", inherited: readonly OptionNode[] = [HELP]): CommandNode {
  const path = above === "" ? command.name() : `${above} ${command.name()}`;
  const options = [...command.options.filter(({ hidden }) => !hidden).map(optionNode), ...inherited];
  const argument = command.registeredArguments[0];
  const visible = command.createHelp().visibleCommands(command).filter((each) => each.name() !== "help");
  return {
    path, name: command.name(), description: command.description(), options,
    commands: visible.map((each) => commandTree(each, path, options)),
    argument: argument === undefined ? undefined : valueOf(argument.name(), argument.argChoices),
  };
}

function optionNode({ short, long, description, flags, argChoices, required, optional }: Option): OptionNode {
  const names = [short, long].filter((name) => name !== undefined);
  return { names, description, value: required || optional ? valueOf(flags, argChoices) : undefined };
}

/** Named `<file>` or `<path>` where it is one. */
function valueOf(words: string, choices: readonly string[] | undefined): Value {
  return choices ?? (/\b(file|path)\b/.test(words) ? "file" : "free");
}

export function completionScript(shell: Shell, root: CommandNode): string {
  return { bash: bashScript, zsh: zshScript, fish: fishScript }[shell](root);
}

function all(node: CommandNode): readonly CommandNode[] {
  return [node, ...node.commands.flatMap(all)];
}

const quote = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`;
const pattern = (texts: readonly string[]): string => texts.map(quote).join("|");

/** `command option` as typed -> what follows. */
function valuedOptions(root: CommandNode): readonly (readonly [keys: readonly string[], value: Value])[] {
  return all(root).flatMap(({ path, options }) => options.flatMap(({ names, value }) => (value === undefined ? [] : [[names.map((name) => `${path} ${name}`), value] as const])));
}

/** The loop of bash and zsh that finds the command: `at` grows by each word that names one; the value of an option names none. */
function walk(root: CommandNode, word: string): string {
  const paths = all(root).filter((node) => node !== root).map(({ path }) => path);
  return [
    "    if ((skip)); then skip=0; continue; fi",
    `    case "$at ${word}" in`,
    `      ${pattern(paths)}) at="$at ${word}" ;;`,
    `      ${pattern(valuedOptions(root).flatMap(([keys]) => keys))}) skip=1 ;;`,
    "    esac",
  ].join("\n");
}

function bashScript(root: CommandNode): string {
  const reply = (words: readonly string[]): string => `mapfile -t COMPREPLY < <(compgen -W ${quote(words.join(" "))} -- "$cur")`;
  const value = (kind: Value): string => (kind === "file" ? "compopt -o default 2> /dev/null" : kind === "free" ? ":" : reply(kind));
  const words = ({ commands, options, argument }: CommandNode): string[] =>
    [...commands.map(({ name }) => name), ...options.flatMap(({ names }) => names), ...(typeof argument === "object" ? argument : [])];
  return [
    `# bash completion; for this shell: source <(${root.name} completion bash)`,
    `_${root.name}() {`,
    `  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} at=${quote(root.name)} skip=0 i`,
    "  COMPREPLY=()",
    "  # --option=value comes as three words",
    '  if [[ $cur == = ]]; then cur=; elif [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD - 2]}; fi',
    "  for ((i = 1; i < COMP_CWORD; i++)); do",
    "    if [[ ${COMP_WORDS[i]} == = ]]; then skip=1; continue; fi",
    walk(root, "${COMP_WORDS[i]}"),
    "  done",
    '  case "$at $prev" in',
    ...valuedOptions(root).map(([keys, kind]) => `    ${pattern(keys)}) ${value(kind)}; return ;;`),
    "  esac",
    '  case "$at" in',
    ...all(root).map((node) => `    ${quote(node.path)}) ${node.argument === "file" ? "[[ $cur == -* ]] || compopt -o default 2> /dev/null; " : ""}${reply(words(node))} ;;`),
    "  esac",
    "}",
    `complete -F _${root.name} ${root.name}`,
    "",
  ].join("\n");
}

function zshScript(root: CommandNode): string {
  const described = (items: readonly (readonly [string, string])[]): string => items.map(([name, text]) => quote(`${name.replaceAll(":", "\\:")}:${text}`)).join(" ");
  const value = (kind: Value): string => (kind === "file" ? "_files" : kind === "free" ? ":" : `compadd -- ${kind.map(quote).join(" ")}`);
  const offer = ({ commands, options, argument }: CommandNode): string => [
    `found=(${described(options.flatMap(({ names, description }) => names.map((name) => [name, description] as const)))}); if [[ $words[CURRENT] == -* ]]; then _describe option found; return; fi`,
    ...(commands.length === 0 ? [] : [`found=(${described(commands.map(({ name, description }) => [name, description] as const))}); _describe command found`]),
    ...(argument === undefined ? [] : [value(argument)]),
  ].join("; ");
  return [
    `#compdef ${root.name}`,
    `# zsh completion; for this shell: source <(${root.name} completion zsh)`,
    `_${root.name}() {`,
    `  local at=${quote(root.name)} prev=$words[CURRENT-1] skip=0 word`,
    "  local -a found",
    '  for word in "${(@)words[2,CURRENT-1]}"; do',
    walk(root, "$word"),
    "  done",
    '  case "$at $prev" in',
    ...valuedOptions(root).map(([keys, kind]) => `    ${pattern(keys)}) ${value(kind)}; return ;;`),
    "  esac",
    '  case "$at" in',
    ...all(root).map((node) => `    ${quote(node.path)}) ${offer(node)} ;;`),
    "  esac",
    "}",
    `compdef _${root.name} ${root.name}`,
    "",
  ].join("\n");
}

/** Within single quotes fish knows \\ and \' (fish(1), quotes). */
const fishQuote = (text: string): string => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;

function fishScript(root: CommandNode): string {
  const at = (path: string): string => `-n ${fishQuote(`__${root.name}_at ${fishQuote(path)}`)}`;
  const value = (kind: Value): string => (kind === "file" ? " -r -F" : kind === "free" ? " -x" : ` -x -a ${fishQuote(kind.join(" "))}`);
  const option = (path: string, { names, description, value: kind }: OptionNode): string => {
    const flags = names.map((name) => (name.startsWith("--") ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`)).join(" ");
    return `complete -c ${root.name} ${at(path)} ${flags}${kind === undefined ? "" : value(kind)} -d ${fishQuote(description)}`;
  };
  const cases = (texts: readonly string[]): string => texts.map(fishQuote).join(" ");
  return [
    `# fish completion; for this shell: ${root.name} completion fish | source`,
    `function __${root.name}_at`,
    `    set -l at ${fishQuote(root.name)}`,
    "    set -l skip 0",
    "    for word in (commandline -opc)[2..-1]",
    '        if test $skip = 1; set skip 0; continue; end',
    '        switch "$at $word"',
    `            case ${cases(all(root).filter((node) => node !== root).map(({ path }) => path))}`,
    '                set at "$at $word"',
    `            case ${cases(valuedOptions(root).flatMap(([keys]) => keys))}`,
    "                set skip 1",
    "        end",
    "    end",
    '    test "$at" = "$argv[1]"',
    "end",
    `complete -c ${root.name} -f`,
    ...all(root).flatMap((node) => [
      ...node.commands.map(({ name, description }) => `complete -c ${root.name} ${at(node.path)} -a ${fishQuote(name)} -d ${fishQuote(description)}`),
      ...node.options.map((each) => option(node.path, each)),
      ...(node.argument === "file" ? [`complete -c ${root.name} ${at(node.path)} -F`] : typeof node.argument === "object" ? [`complete -c ${root.name} ${at(node.path)} -a ${fishQuote(node.argument.join(" "))}`] : []),
    ]),
    "",
  ].join("\n");
}
