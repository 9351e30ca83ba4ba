import { FakeMap } from "../../../src/kernel/fake.ts";
import { mapSuite } from "../../conformance/target-suite.ts";

mapSuite("fake", { make: () => new FakeMap({ name: "fake", keySize: 4, valueSize: 4, maxEntries: 8 }) });
