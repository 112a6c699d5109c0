{{/* What the schema cannot say: values that do not go together, each told in a sentence. */}}
{{- define "vermilion.checks" -}}
{{- $values := .Values -}}
{{- $fullname := include "vermilion.fullname" . -}}
{{- if not (regexMatch "^[a-z][a-z0-9-]*$" $fullname) -}}
{{- fail (printf "\n\nObjects would be called %s-…, and Services' names begin with a letter and have no dots: set fullnameOverride.\n" $fullname) -}}
{{- end -}}
{{- if and (not $values.kafka.bootstrapServers) (not $values.kafka.demo.enabled) -}}
{{- fail "\n\nNo Kafka is named. Set kafka.bootstrapServers to its addresses, such as kafka-1:9092,kafka-2:9092 (or, only to try things out, kafka.demo.enabled=true).\n" -}}
{{- end -}}
{{- if and $values.kafka.bootstrapServers $values.kafka.demo.enabled -}}
{{- fail "\n\nBoth kafka.bootstrapServers and kafka.demo.enabled are set: which Kafka is it? Leave one out.\n" -}}
{{- end -}}
{{- if and (eq $values.kafka.auth.type "certificate") (not $values.kafka.tls.enabled) -}}
{{- fail "\n\nkafka.auth.type=certificate needs kafka.tls.enabled=true.\n" -}}
{{- end -}}
{{- if and $values.kafka.demo.enabled (or $values.kafka.tls.enabled (ne $values.kafka.auth.type "none")) -}}
{{- fail "\n\nThe demo broker has neither TLS nor users: leave kafka.tls and kafka.auth as they are with kafka.demo.enabled.\n" -}}
{{- end -}}
{{- if and (or (eq $values.topics.mode "strimzi") $values.strimzi.users) (not $values.strimzi.cluster) -}}
{{- fail "\n\nStrimzi's objects belong to a cluster: set strimzi.cluster to its name.\n" -}}
{{- end -}}
{{- if and $values.strimzi.users (eq $values.kafka.auth.type "none") -}}
{{- fail "\n\nstrimzi.users=true needs kafka.auth.type: sasl (for SCRAM-SHA-512) or certificate.\n" -}}
{{- end -}}
{{- if and $values.strimzi.users (eq $values.kafka.auth.type "sasl") (ne $values.kafka.auth.mechanism "SCRAM-SHA-512") -}}
{{- fail (printf "\n\nstrimzi.users=true makes users of SCRAM-SHA-512, and kafka.auth.mechanism is %s: leave it as it is, or make the users yourself.\n" $values.kafka.auth.mechanism) -}}
{{- end -}}
{{- if $values.strimzi.users -}}
{{- $written := ternary (dict "certificate" "user.crt" "key" "user.key") (dict "username" "" "password" "password") (eq $values.kafka.auth.type "certificate") -}}
{{- range $name, $key := $written -}}
{{- if ne (get $values.kafka.auth.keys $name) $key -}}
{{- fail (printf "\n\nstrimzi.users=true: Strimzi's Secrets have their own keys, and kafka.auth.keys.%s must be %q.\n" $name $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $values.capture.enabled (not $values.capture.groups) -}}
{{- fail "\n\ncapture.enabled=true needs capture.groups: a name and interfaces for each group of nodes.\n" -}}
{{- end -}}
{{- $names := list -}}
{{- range $values.capture.groups -}}{{- $names = append $names .name -}}{{- end -}}
{{- if ne (len $names) (len (uniq $names)) -}}
{{- fail "\n\ncapture.groups: two groups have the same name; their objects would, too.\n" -}}
{{- end -}}
{{- $keyLog := $values.fingerprint.keyLog -}}
{{- if and $keyLog.existingSecret $keyLog.existingClaim -}}
{{- fail "\n\nfingerprint.keyLog.existingSecret and fingerprint.keyLog.existingClaim are both set: leave one out.\n" -}}
{{- end -}}
{{- if and $values.capture.enabled (or $keyLog.existingSecret $keyLog.existingClaim) -}}
{{- range $values.capture.groups -}}
{{- if kindIs "invalid" .depth | ternary $values.capture.depth .depth | int -}}
{{- fail (printf "\n\nfingerprint.keyLog needs whole connections, and the group %s of capture publishes their beginnings: set capture.depth=0.\n" .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $values.replay.enabled (or $keyLog.existingSecret $keyLog.existingClaim) (int $values.replay.depth) -}}
{{- fail "\n\nfingerprint.keyLog needs whole connections, and the replay publishes their beginnings: set replay.depth=0.\n" -}}
{{- end -}}
{{- if and $values.replay.enabled (not $values.replay.existingClaim) (not $values.replay.configMap) -}}
{{- fail "\n\nreplay.enabled=true needs captures: set replay.existingClaim or replay.configMap.\n" -}}
{{- end -}}
{{- if and $values.replay.existingClaim $values.replay.configMap -}}
{{- fail "\n\nreplay.existingClaim and replay.configMap are both set: where are the captures? Leave one out.\n" -}}
{{- end -}}
{{- if and $values.registry.url $values.registry.existingSecret -}}
{{- fail "\n\nregistry.url and registry.existingSecret are both set: leave one out.\n" -}}
{{- end -}}
{{- range $component := list "fingerprint" "classify" -}}
{{- $own := get $values $component -}}
{{- if and $own.enabled (eq $own.autoscaling.mode "none") (gt (int $own.replicas) (int $values.topics.partitions)) -}}
{{- fail (printf "\n\n%s.replicas=%d is more than topics.partitions=%d: the others would have nothing to do.\n" $component (int $own.replicas) (int $values.topics.partitions)) -}}
{{- end -}}
{{- if and $own.enabled (eq $own.autoscaling.mode "keda") (not $values.keda.prometheusAddress) -}}
{{- fail (printf "\n\n%s.autoscaling.mode=keda needs keda.prometheusAddress, where the lag is asked for.\n" $component) -}}
{{- end -}}
{{- end -}}
{{- end -}}
