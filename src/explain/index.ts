/**
 * Answers for people: may this pod send that, which rule decides, what came close, and what would change if other policies
 * were applied. By the engine that enforces: the compiler's rules, expanded to the entries of the maps, looked up as the
 * programs do. Pure: objects come in, from the API server or from files; nothing is written, and nothing is asked.
 */
export { Engine } from "./engine.ts";
export type { EngineOptions, Judged } from "./engine.ts";
export { judge } from "./evaluate.ts";
export type { Judgement, Question } from "./evaluate.ts";
export { explain } from "./explain.ts";
export type { Answer, Near, RuleWords, SideAnswer } from "./explain.ts";
export { answerText } from "./text.ts";
export { findParties, parsePort } from "./parties.ts";
export type { Party, PortSpec } from "./parties.ts";
export { simulate } from "./simulate.ts";
export type { Engines, PairChange, Simulation } from "./simulate.ts";
export { protocolNumber, simulateFlows } from "./flows.ts";
export type { AskedFlow, FlowChange, FlowSimulation } from "./flows.ts";
export { simulationText } from "./simulation-text.ts";
export { denialsOf, distinct, nobodyWarnings, policyWarnings, shadowWarnings, stagingWarnings } from "./warnings.ts";
export type { Denials } from "./shadows.ts";
export type { Warning } from "./warnings.ts";
export { POLICY_KINDS, worldOf, withPolicies } from "./world.ts";
export type { LineOf, Sourced, Workload, World, WorldOptions } from "./world.ts";
