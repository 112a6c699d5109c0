{{/* Names and labels. Those that concern a component take (list CONTEXT COMPONENT). */}}

{{- define "vermilion.fullname" -}}
{{- $chart := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $chart .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $chart | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "vermilion.name" -}}
{{- $context := index . 0 -}}
{{- printf "%s-%s" (include "vermilion.fullname" $context) (index . 1) -}}
{{- end -}}

{{/* What a component's objects are found by: never changes, as selectors cannot. Quoted, as all that others name is
     that is not part of a longer text: a release may be called 2024, a Secret no. */}}
{{- define "vermilion.selector" -}}
{{- $context := index . 0 -}}
app.kubernetes.io/name: {{ default $context.Chart.Name $context.Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ $context.Release.Name | quote }}
{{- with index . 1 }}
app.kubernetes.io/component: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* (list CONTEXT COMPONENT [LABELS]): with those of one's own, of which the object's own LABELS win. Each once: what
     stands twice in a map is an error to many a reader of YAML. */}}
{{- define "vermilion.labels" -}}
{{- $context := index . 0 -}}
{{- $ours := include "vermilion.selector" (list $context (index . 1)) | fromYaml -}}
{{- $_ := set $ours "app.kubernetes.io/version" $context.Chart.AppVersion -}}
{{- $_ := set $ours "app.kubernetes.io/managed-by" $context.Release.Service -}}
{{- $_ := set $ours "helm.sh/chart" (printf "%s-%s" $context.Chart.Name $context.Chart.Version | replace "+" "_") -}}
{{- $own := dict -}}
{{- if gt (len .) 2 -}}{{- $own = index . 2 | default dict -}}{{- end -}}
{{- toYaml (merge $ours $own $context.Values.commonLabels (dict "app.kubernetes.io/part-of" "vermilion")) -}}
{{- end -}}

{{/* Of pods: without versions, so that a new chart alone rolls nothing. */}}
{{- define "vermilion.podLabels" -}}
{{- $context := index . 0 -}}
{{- $ours := include "vermilion.selector" . | fromYaml -}}
{{- toYaml (merge $ours $context.Values.commonLabels (dict "app.kubernetes.io/part-of" "vermilion")) -}}
{{- end -}}

{{/* (list CONTEXT IMAGE) */}}
{{- define "vermilion.image" -}}
{{- $context := index . 0 -}}
{{- $image := index . 1 -}}
{{- with $context.Values.image.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest -}}
@{{ $image.digest }}
{{- else -}}
:{{ coalesce $image.tag $context.Values.image.tag $context.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "vermilion.bootstrap" -}}
{{- if .Values.kafka.demo.enabled -}}
{{- printf "%s.%s.svc:9092" (include "vermilion.name" (list . "kafka")) .Release.Namespace -}}
{{- else -}}
{{- .Values.kafka.bootstrapServers -}}
{{- end -}}
{{- end -}}
