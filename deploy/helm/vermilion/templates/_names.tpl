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

{{- define "vermilion.labels" -}}
{{- $context := index . 0 -}}
{{- with $context.Values.commonLabels }}
{{- toYaml . }}
{{ end -}}
{{ include "vermilion.selector" . }}
app.kubernetes.io/version: {{ $context.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $context.Release.Service }}
app.kubernetes.io/part-of: vermilion
helm.sh/chart: {{ printf "%s-%s" $context.Chart.Name $context.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Of pods: without versions, so that a new chart alone rolls nothing. */}}
{{- define "vermilion.podLabels" -}}
{{- $context := index . 0 -}}
{{- with $context.Values.commonLabels }}
{{- toYaml . }}
{{ end -}}
{{ include "vermilion.selector" . }}
app.kubernetes.io/part-of: vermilion
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
