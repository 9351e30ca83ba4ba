import { strict as assert } from "node:assert";
import { describe, it } from "node:test";
import { KeyedTurns, SharedTurns } from "../../../src/cni/turns.ts";

/** A task that ends when told, and says when it began. */
class Task {
  readonly #end = Promise.withResolvers<void>();
  began = false;
  readonly run = async (): Promise<void> => {
    this.began = true;
    await this.#end.promise;
  };
  end(): void {
    this.#end.resolve();
  }
  fail(): void {
    this.#end.reject(new Error("failed"));
  }
}

/** Everything that can go on without anybody's help has gone on. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("turns", () => {
  it("by key: one after the other, other keys beside it, and a failure holds nobody up", async () => {
    const turns = new KeyedTurns();
    const [a, b, other] = [new Task(), new Task(), new Task()];
    const first = turns.run("x", a.run).catch((error: Error) => error.message);
    const second = turns.run("x", b.run);
    const third = turns.run("y", other.run);
    await settle();
    assert.deepEqual([a.began, b.began, other.began], [true, false, true]);
    a.fail();
    await settle();
    assert.deepEqual([await first, b.began, turns.isBusy("x")], ["failed", true, true]);
    b.end();
    other.end();
    await Promise.all([second, third]);
    assert.equal(turns.isBusy("x"), false);
  });

  it("shared: many beside each other, one alone, in the order of arrival", async () => {
    const turns = new SharedTurns();
    const [a, b, alone, late] = [new Task(), new Task(), new Task(), new Task()];
    const all = [turns.beside(a.run), turns.beside(b.run), turns.alone(alone.run), turns.beside(late.run)];
    const began = (): boolean[] => [a, b, alone, late].map((task) => task.began);
    await settle();
    assert.deepEqual(began(), [true, true, false, false]);
    b.end();
    await settle();
    assert.deepEqual(began(), [true, true, false, false], "alone waits for all that came before it");
    a.end();
    await settle();
    assert.deepEqual(began(), [true, true, true, false], "who came after it waits");
    alone.end();
    await settle();
    assert.deepEqual(began(), [true, true, true, true]);
    late.end();
    await Promise.all(all);
  });

  it("shared: a task that fails fails alone", async () => {
    const turns = new SharedTurns();
    const failing = (): Promise<never> => Promise.reject(new Error("failed"));
    const outcomes = await Promise.allSettled([turns.beside(failing), turns.alone(failing), turns.beside(async () => "went on"), turns.alone(async () => "and alone")]);
    assert.deepEqual(outcomes.map((outcome) => (outcome.status === "fulfilled" ? outcome.value : (outcome.reason as Error).message)), ["failed", "failed", "went on", "and alone"]);
  });
});
