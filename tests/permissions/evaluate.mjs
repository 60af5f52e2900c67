// Decides requests by IAM's rules. Reads {policies: {name: policy}, requests: [request]} from
// standard input, and writes one {result, statements} for each request. A policy that is invalid, or
// a context key that the action does not have, ends the program with an error.
import { readFileSync } from 'node:fs'
import { runSimulation } from '@cloud-copilot/iam-simulate'

const { policies, requests } = JSON.parse(readFileSync(0, 'utf8'))
const decisions = []
for (const { principal, action, resource, context, identity, resourcePolicy } of requests) {
  const answer = await runSimulation(
    {
      request: {
        principal,
        action,
        resource: { resource, accountId: resource.split(':')[4] || process.argv[2] },
        contextVariables: context,
      },
      identityPolicies: identity ? [{ name: identity, policy: policies[identity] }] : [],
      serviceControlPolicies: [],
      resourceControlPolicies: [],
      resourcePolicy: resourcePolicy ? policies[resourcePolicy] : undefined,
    },
    {},
  )
  const ignored = answer.result?.ignoredContextKeys ?? []
  if (answer.resultType === 'error' || ignored.length > 0) {
    throw new Error(JSON.stringify({ action, resource, ignored, errors: answer.errors }))
  }
  const results = answer.resultType === 'single' ? [answer.result] : answer.results
  const decisive = results.flatMap(({ analysis: { identityAnalysis, resourceAnalysis } }) =>
    [identityAnalysis, resourceAnalysis].flatMap((each) =>
      each ? [...each.allowStatements, ...each.denyStatements] : [],
    ),
  )
  const statements = decisive.map(({ explain }) => explain.identifier)
  decisions.push({ result: answer.overallResult, statements })
}
process.stdout.write(JSON.stringify(decisions))
