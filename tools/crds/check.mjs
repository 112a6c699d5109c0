// Checks custom resources of KEDA and of Prometheus' operator, a JSON list on standard input, by the models
// of their schemas. Prints what they refuse, or never look at, a line each.
//
//     node .tools/crds/check.mjs < resources.json

import { ScaledObject } from "@kubernetes-models/keda/keda.sh/v1alpha1";
import { PrometheusRule, ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";
import { readFileSync } from "node:fs";

const KINDS = { ScaledObject, PrometheusRule, ServiceMonitor };

// A schema that was compiled reads each property that it knows, and passes over what it does not: the API
// server would drop that without a word.
function watched(value, path, seen) {
  if (value === null || typeof value !== "object") return value;
  return new Proxy(value, {
    get(target, name) {
      if (typeof name === "string" && Object.hasOwn(target, name)) seen.add(`${path}.${name}`);
      return watched(target[name], `${path}.${String(name)}`, seen);
    },
  });
}

function* paths(value, path) {
  if (value === null || typeof value !== "object") return;
  for (const [name, inner] of Object.entries(value)) {
    yield `${path}.${name}`;
    yield* paths(inner, `${path}.${name}`);
  }
}

for (const resource of JSON.parse(readFileSync(0, "utf8"))) {
  const name = `${resource.kind}/${resource.metadata.name}`;
  const Kind = KINDS[resource.kind];
  const seen = new Set();
  const model = new Kind(resource);
  model.spec = watched(resource.spec, "spec", seen);  // afterwards: the constructor copies all that there is
  try {
    model.validate();
  } catch (error) {
    console.log(`${name}: ${error.message}`);
  }
  if (resource.apiVersion !== Kind.apiVersion) console.log(`${name}: apiVersion: ${Kind.apiVersion} is expected`);
  const unknown = [...paths(resource.spec, "spec")].filter((path) => !seen.has(path));
  if (unknown.length) console.log(`${name}: unknown: ${unknown.join(", ")}`);
}
