{{- define "connector-registry.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "connector-registry.selector" -}}
app.kubernetes.io/name: connector-registry
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "connector-registry.labels" -}}
{{ include "connector-registry.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "connector-registry.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "connector-registry.name" .) -}}
{{- else -}}
{{- required "serviceAccount.name: name one that exists, or let one be created" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}
