{{/* What all pods have in common. */}}

{{/* Pod Security "restricted", for every pod but capture's. */}}
{{- define "vermilion.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  {{- with .Values.security.user }}
  runAsUser: {{ int . }}
  {{- end }}
  {{- with .Values.security.group }}
  runAsGroup: {{ int . }}
  fsGroup: {{ int . }}
  # Not at each start over all files of a volume.
  fsGroupChangePolicy: OnRootMismatch
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- define "vermilion.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* Whether Strimzi makes the user that looks at topics: nobody else does, and creating them takes none of ours. */}}
{{- define "vermilion.describer" -}}
{{- $auth := .Values.kafka.auth -}}
{{- if and .Values.strimzi.users (ne .Values.topics.mode "job") (not $auth.secret) (not $auth.users.admin.secret) -}}
true
{{- end -}}
{{- end -}}

{{/* (list CONTEXT ROLE): the Kafka user of a role, as JSON. */}}
{{- define "vermilion.user" -}}
{{- $context := index . 0 -}}
{{- $role := index . 1 -}}
{{- $auth := $context.Values.kafka.auth -}}
{{- $own := get $auth.users $role | default dict -}}
{{- $username := coalesce $own.username $auth.username -}}
{{- $secret := coalesce $own.secret $auth.secret -}}
{{- if and $context.Values.strimzi.users (or (ne $role "admin") (include "vermilion.describer" $context)) (not $own.secret) -}}
{{- $username = include "vermilion.name" (list $context $role) -}}
{{- $secret = $username -}}
{{- end -}}
{{- if ne $auth.type "none" -}}
{{- if not $secret -}}
{{- fail (printf "\n\nkafka.auth.type=%s needs a Secret for the role %s: set kafka.auth.secret or kafka.auth.users.%s.secret.\n" $auth.type $role $role) -}}
{{- end -}}
{{- if and (eq $auth.type "sasl") (not $username) (not $auth.keys.username) -}}
{{- fail (printf "\n\nkafka.auth.type=sasl needs a user for the role %s: set kafka.auth.username, kafka.auth.users.%s.username or kafka.auth.keys.username.\n" $role $role) -}}
{{- end -}}
{{- end -}}
{{- dict "username" ($username | default "") "secret" ($secret | default "") | toJson -}}
{{- end -}}

{{/* Name of the Secret with Kafka's authority, if one is to be trusted. */}}
{{- define "vermilion.caSecret" -}}
{{- if .Values.kafka.tls.enabled -}}
{{- if .Values.kafka.tls.caSecret -}}
{{- .Values.kafka.tls.caSecret -}}
{{- else if .Values.strimzi.users -}}
{{- printf "%s-cluster-ca-cert" .Values.strimzi.cluster -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Name of the Secret with the registry's authority, where a registry is asked. */}}
{{- define "vermilion.registryAuthority" -}}
{{- if or .Values.registry.url .Values.registry.existingSecret -}}
{{- .Values.registry.caSecret -}}
{{- end -}}
{{- end -}}

{{/* Of Secrets' files, which are root's: by the pod's group, which OpenShift chooses where none is given. Where nobody
     does, only others' right is left; no other than the pod's containers sees them. */}}
{{- define "vermilion.secretMode" -}}
{{- if or .Values.security.group (.Capabilities.APIVersions.Has "security.openshift.io/v1") }}0440{{ else }}0444{{ end -}}
{{- end -}}

{{/* (list CONTEXT ROLE): how Kafka is reached, as environment. It stands in each pod itself and in no
     ConfigMap, so that a change rolls the pods, and hooks need nothing that is not there yet. */}}
{{- define "vermilion.environment" -}}
{{- $context := index . 0 -}}
{{- $role := index . 1 -}}
{{- $kafka := $context.Values.kafka -}}
{{- $user := include "vermilion.user" . | fromJson -}}
{{- $settings := deepCopy $kafka.config -}}
{{- $files := dict -}}
{{- $protocol := ternary "SSL" "PLAINTEXT" $kafka.tls.enabled -}}
{{- if eq $kafka.auth.type "sasl" -}}
{{- $protocol = printf "SASL_%s" $protocol -}}
{{- $_ := set $settings "sasl.mechanism" $kafka.auth.mechanism -}}
{{- if $kafka.auth.keys.username -}}
{{- $_ := set $files "sasl.username" "/etc/vermilion/user/username" -}}
{{- else -}}
{{- $_ := set $settings "sasl.username" $user.username -}}
{{- end -}}
{{- $_ := set $files "sasl.password" "/etc/vermilion/user/password" -}}
{{- else if eq $kafka.auth.type "certificate" -}}
{{- $_ := set $settings "ssl.certificate.location" "/etc/vermilion/user/certificate" -}}
{{- $_ := set $settings "ssl.key.location" "/etc/vermilion/user/key" -}}
{{- end -}}
{{- if ne $protocol "PLAINTEXT" -}}
{{- $_ := set $settings "security.protocol" $protocol -}}
{{- end -}}
{{- if include "vermilion.caSecret" $context -}}
{{- $_ := set $settings "ssl.ca.location" "/etc/vermilion/authority/ca.crt" -}}
{{- end -}}
{{- if and $kafka.staticMembership (has $role (list "fingerprint" "classify")) -}}
{{- $_ := set $settings "group.instance.id" "$(VERMILION_INSTANCE)" -}}
{{- end -}}
- name: VERMILION_BOOTSTRAP_SERVERS
  value: {{ include "vermilion.bootstrap" $context | quote }}
- name: VERMILION_TOPIC_PREFIX
  value: {{ $kafka.topicPrefix | quote }}
{{- if $settings }}
- name: VERMILION_KAFKA
  value: {{ toJson $settings | quote }}
{{- end }}
{{- if $files }}
- name: VERMILION_KAFKA_SECRET_FILES
  value: {{ toJson $files | quote }}
{{- end }}
{{- if $context.Values.registry.url }}
- name: VERMILION_REGISTRY_URL
  value: {{ $context.Values.registry.url | quote }}
{{- else if $context.Values.registry.existingSecret }}
- name: VERMILION_REGISTRY_URL
  valueFrom:
    secretKeyRef:
      name: {{ $context.Values.registry.existingSecret | quote }}
      key: {{ $context.Values.registry.key | quote }}
{{- end }}
{{- if include "vermilion.registryAuthority" $context }}
- name: SSL_CERT_FILE
  value: /etc/vermilion/registry/ca.crt
{{- end }}
- name: VERMILION_LOG_STYLE
  value: json
- name: VERMILION_LOG_LEVEL
  value: {{ $context.Values.settings.logLevel }}
# What a library wants to keep goes to the one folder that can be written.
- name: HOME
  value: /tmp
{{- end -}}

{{- define "vermilion.mounts" -}}
{{- $context := index . 0 -}}
- name: tmp
  mountPath: /tmp
{{- if ne $context.Values.kafka.auth.type "none" }}
- name: user
  mountPath: /etc/vermilion/user
  readOnly: true
{{- end }}
{{- if include "vermilion.caSecret" $context }}
- name: authority
  mountPath: /etc/vermilion/authority
  readOnly: true
{{- end }}
{{- if include "vermilion.registryAuthority" $context }}
- name: registry-authority
  mountPath: /etc/vermilion/registry
  readOnly: true
{{- end }}
{{- end -}}

{{- define "vermilion.volumes" -}}
{{- $context := index . 0 -}}
{{- $auth := $context.Values.kafka.auth -}}
{{- $user := include "vermilion.user" . | fromJson -}}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
{{- if ne $auth.type "none" }}
- name: user
  secret:
    secretName: {{ $user.secret | quote }}
    defaultMode: {{ include "vermilion.secretMode" $context }}
    items:
      {{- if eq $auth.type "sasl" }}
      - key: {{ $auth.keys.password | quote }}
        path: password
      {{- with $auth.keys.username }}
      - key: {{ . | quote }}
        path: username
      {{- end }}
      {{- else }}
      - key: {{ $auth.keys.certificate | quote }}
        path: certificate
      - key: {{ $auth.keys.key | quote }}
        path: key
      {{- end }}
{{- end }}
{{- with include "vermilion.caSecret" $context }}
- name: authority
  secret:
    secretName: {{ . | quote }}
    items:
      - key: {{ $context.Values.kafka.tls.caKey | quote }}
        path: ca.crt
{{- end }}
{{- with include "vermilion.registryAuthority" $context }}
- name: registry-authority
  secret:
    secretName: {{ . | quote }}
    items:
      - key: {{ $context.Values.registry.caKey | quote }}
        path: ca.crt
{{- end }}
{{- end -}}

{{/* The probes of every service. */}}
{{- define "vermilion.endpoints" -}}
livenessProbe:
  httpGet:
    path: /healthz
    port: http
  # The loop itself is given 90 s by /healthz.
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet:
    path: /readyz
    port: http
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 3
startupProbe:
  httpGet:
    path: /healthz
    port: http
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 60
{{- end -}}

{{/* (list CONTEXT VALUES): where its pods may go, or else where all may. */}}
{{- define "vermilion.placement" -}}
{{- $all := (index . 0).Values.placement -}}
{{- $own := index . 1 -}}
{{- $found := dict -}}
{{- range $name := list "priorityClassName" "nodeSelector" "tolerations" "affinity" -}}
{{- $_ := set $found $name (or (get $own $name) (get $all $name)) -}}
{{- end -}}
{{- include "vermilion.placed" $found -}}
{{- end -}}

{{- define "vermilion.placed" -}}
{{- $own := . -}}
{{- with $own.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with $own.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* (list CONTEXT IMAGE ROLE): waits for the topics, where no hook can have made them before: the broker is of this
     release, or Strimzi makes them. */}}
{{- define "vermilion.waitForTopics" -}}
{{- $context := index . 0 -}}
- name: topics
  image: {{ include "vermilion.image" (list $context (index . 1)) | quote }}
  imagePullPolicy: {{ $context.Values.image.pullPolicy }}
  {{- include "vermilion.containerSecurity" $context | nindent 2 }}
  command: [sh, -c, "until vermilion topics describe; do sleep 2; done"]
  env:
    {{- include "vermilion.environment" (list $context (index . 2)) | nindent 4 }}
  volumeMounts:
    {{- include "vermilion.mounts" (list $context) | nindent 4 }}
  resources:
    {{- toYaml $context.Values.topics.resources | nindent 4 }}
{{- end -}}
